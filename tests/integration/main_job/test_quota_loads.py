"""Sixteen processes in front of a provider that enforces its limits, in several shapes.

Timing is measured in ``tests.bench``; here it counts who was refused and who was answered.
A provider that stands still because the machine is busy elsewhere refuses more than its limits
say: the best of a few takings counts. The strict proof is in ``tests.simulation``.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.crowd_of_clients import Crowd, crowd
from tests.support.quota_loads import Brought, Shape, through_daemon

PROCESSES = 16
KNOWN = (
    Shape("even", calls=240, requests=12_000.0, burst_s=0.5),
    Shape("two have half", calls=240, requests=12_000.0, burst_s=0.5, uneven=True),
    Shape("mixed lengths", calls=160, requests=60_000.0, tokens=9e6, burst_s=0.5, mixed=True),
    Shape(
        "refusals count",
        calls=240,
        requests=12_000.0,
        burst_s=0.5,
        kind="anthropic_compatible",
        provider={"counts_refused": True},
    ),
)
FOUND = (
    Shape("unknown", calls=400, requests=12_000.0, burst_s=0.5, known=None),
    Shape(
        "unknown to Anthropic's",
        calls=400,
        requests=12_000.0,
        burst_s=0.5,
        known=None,
        kind="anthropic_compatible",
    ),
)


TAKINGS = 3


def taken(shape: Shape, clients: Crowd, folder: Path, *, refused: float) -> Brought:
    """Take it again, a few times at most, while more were ``refused``; each must answer all."""
    for taking in range(TAKINGS):
        brought = through_daemon(shape, clients, PROCESSES, folder / f"d{taking}")
        assert (brought.answered, brought.failed) == (shape.calls, 0)
        if brought.refused <= refused:
            break
    return brought


@pytest.fixture(scope="module")
def clients() -> Iterator[Crowd]:
    with crowd(PROCESSES) as processes:
        yield processes


@pytest.mark.parametrize("shape", KNOWN, ids=lambda shape: shape.name)
def test_a_provider_whose_limits_are_known_never_refuses(
    shape: Shape, clients: Crowd, folder: Path
) -> None:
    assert taken(shape, clients, folder, refused=0).refused == 0


@pytest.mark.parametrize("shape", FOUND, ids=lambda shape: shape.name)
def test_limits_that_nobody_wrote_are_found_and_hardly_anything_is_refused(
    shape: Shape, clients: Crowd, folder: Path
) -> None:
    most = shape.calls * 0.01
    assert taken(shape, clients, folder, refused=most).refused <= most


def test_somebody_else_with_the_same_key_makes_no_call_fail(clients: Crowd, folder: Path) -> None:
    shape = Shape("others", calls=240, requests=12_000.0, burst_s=0.5, provider={"takes": 0.5})
    brought = through_daemon(shape, clients, PROCESSES, folder / "d")
    assert (brought.answered, brought.failed) == (shape.calls, 0)
