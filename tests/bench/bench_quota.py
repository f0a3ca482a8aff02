"""Sixteen processes that share one key, through the daemon and with the bare SDK.

A minute is scaled down to 15 seconds: a provider that grants 2,400 requests a minute gets 640
calls. ``ideal`` is what the provider's own buckets
need for what they charged, and the ratio is the time taken to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tests.bench.parts import Row
from tests.support.crowd_of_clients import Crowd, crowd
from tests.support.quota_loads import Brought, Shape, through_daemon, with_sdk

PROCESSES = 16
RETRIES = (2, 10)
ANTHROPIC = "anthropic_compatible"
_REQUESTS = "at most 1.03, none refused"
_TOKENS = "at most 1.10, none refused"
_UNKNOWN = "at most 1.15, 1 % refused"
TOKENS = Shape("tokens", requests=60_000.0, tokens=2.4e6, mixed=True)
SHAPES: tuple[tuple[Shape, str], ...] = (
    (Shape("even"), _REQUESTS),
    (Shape("two processes have half of the work", uneven=True), _REQUESTS),
    (Shape("all at once, after a burst of 300", burst_s=7.5, calls=800), _REQUESTS),
    (replace(TOKENS, name="mixed lengths"), _TOKENS),
    (replace(TOKENS, name="mixed lengths, Anthropic's", kind=ANTHROPIC, tokens=1.2e6), _TOKENS),
    (Shape("refused calls count", provider={"counts_refused": True}), _REQUESTS),
    (Shape("limits unknown", known=None), _UNKNOWN),
    (replace(TOKENS, name="limits unknown, mixed lengths", known=None), _UNKNOWN),
    (Shape("limits unknown, no headers", known=None, provider={"headers": False}), _UNKNOWN),
    (Shape("twice the limits configured", known=2.0), _UNKNOWN),
    (Shape("somebody else takes half", provider={"takes": 0.5}), _UNKNOWN),
)


def run(folder: Path, shapes: Sequence[tuple[Shape, str]] = SHAPES) -> list[Row]:
    rows = []
    with crowd(PROCESSES) as processes:
        for number, (shape, promised) in enumerate(shapes):
            ours = through_daemon(shape, processes, PROCESSES, folder / str(number))
            rows.append(
                Row(
                    what=shape.name,
                    ours=_told(ours),
                    floor="; ".join(_beside(shape, processes)),
                    ratio=ours.ratio,
                    promised=promised,
                )
            )
    return rows


def _beside(shape: Shape, processes: Crowd) -> list[str]:
    if shape.kind == ANTHROPIC:
        return []
    return [
        f"openai SDK, {retries} retries: {_told(with_sdk(shape, processes, PROCESSES, retries))}"
        for retries in RETRIES
    ]


def _told(brought: Brought) -> str:
    asked = brought.answered + brought.failed
    return (
        f"{brought.answered}/{asked}, {brought.refused} refused, "
        f"{brought.took_s:.2f} s of {brought.ideal_s:.2f}"
    )
