"""Which clock each wait of the quota and of the circuits goes by, each stepped alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sutlerd.admission.gate import Gate
from sutlerd.admission.level_file import LevelFile
from sutlerd.config.schema_llm import LlmConfig
from sutlerd.domain.call import Route
from sutlerd.pipeline.boundaries import Boundaries
from sutlerd.pipeline.circuits import Circuits
from sutlerd.providers.contract import AttemptFailed, Outcome, Verdict
from tests.support.event_list import EventList
from tests.support.virtual_clock import VirtualClock

HOUR_S = 3600.0
LLM = LlmConfig.model_validate(
    {
        "default_provider": "far",
        "providers": {
            "far": {
                "kind": "openai_compatible",
                "base_url": "http://127.0.0.1:1/v1",
                "default_model": "m",
                "models": ["m"],
            }
        },
        "rate_limits": {"far": {"requests_per_minute": 60}},
    }
)
FAR = Route(provider="far", model="m")


class Stepped(VirtualClock):
    """Each of its clocks can be set by itself."""

    def step(self, name: str, by_s: float) -> None:
        setattr(self, f"_{name}_s", getattr(self, f"_{name}_s") + by_s)


others = pytest.mark.parametrize(
    ("name", "by_s"),
    [("boottime", HOUR_S), ("boottime", -HOUR_S), ("unix", HOUR_S), ("unix", -HOUR_S)],
)


@pytest.mark.fault("T6")
@others
def test_buckets_refill_and_pauses_end_by_the_monotonic_clock_alone(name: str, by_s: float) -> None:
    clock = Stepped()
    boundaries = Boundaries(LLM, now_s=clock.monotonic_s())
    gate = Gate(quota_of=boundaries.quota, clock=clock)
    quota = gate.quota("far")
    quota.take({"requests": 50.0}, clock.monotonic_s())
    gate.close("far", 20.0)
    left, closed_s = seen(gate)
    clock.step(name, by_s)
    assert seen(gate) == (left, closed_s)
    clock.advance(5.0)
    assert seen(gate) == (pytest.approx(left + 5.0), pytest.approx(15.0))
    clock.step("monotonic", -HOUR_S)
    assert seen(gate)[0] == pytest.approx(left + 5.0), "a clock that goes back refills nothing"


def seen(gate: Gate) -> tuple[float, float]:
    (boundary,) = gate.levels()
    return boundary["buckets"]["requests"]["level"], boundary["closed_s"]


@pytest.mark.fault("T6")
@others
async def test_a_circuits_next_probe_is_due_by_the_monotonic_clock_alone(
    name: str, by_s: float
) -> None:
    clock = Stepped()
    circuits = Circuits(llm=LLM, clock=clock, log=EventList())
    refused = AttemptFailed(
        "no credit",
        verdict=Verdict.CLOSED,
        outcome=Outcome.NOT_BILLED,
        kind="http_402",
        status=402,
    )
    circuits.failed(circuits.enter(FAR), refused)
    clock.step(name, by_s)
    assert not circuits.is_asked(FAR)
    assert circuits.snapshot()[0]["probe_in_s"] == HOUR_S
    clock.step("monotonic", HOUR_S)
    assert circuits.is_asked(FAR)


@pytest.mark.fault("P4")
async def test_a_key_without_credit_is_asked_once_an_hour_and_told_once() -> None:
    clock, log = Stepped(), EventList()
    circuits = Circuits(llm=LLM, clock=clock, log=log)
    asked = 0
    for _ in range(24 * 6):
        clock.advance(600.0)
        if not circuits.is_asked(FAR):
            continue
        asked += 1
        refused = AttemptFailed(
            "you have no credit",
            verdict=Verdict.CLOSED,
            outcome=Outcome.NOT_BILLED,
            kind="no_credit",
            status=429,
        )
        circuits.failed(circuits.enter(FAR), refused)
    assert 2 <= asked <= 24
    (told,) = log.named("circuit_open")
    assert told["why"] == "you have no credit"
    circuits.reset("far")
    assert circuits.is_asked(FAR), "an operator's word"


@pytest.mark.fault("T6")
@pytest.mark.parametrize(
    ("step", "age_s"),
    [
        (lambda clock: clock.step("unix", HOUR_S), 3.0),
        (lambda clock: clock.step("unix", -HOUR_S), 0.0),
        (lambda clock: clock.step("boottime", HOUR_S), 3.0),
        (lambda clock: clock.step("boottime", -HOUR_S), 0.0),
        (lambda clock: clock.step("monotonic", HOUR_S), 3.0),
        (lambda clock: clock.step("monotonic", -HOUR_S), 3.0),
        (lambda clock: clock.suspend(HOUR_S), HOUR_S + 3.0),
    ],
)
async def test_the_age_of_noted_levels_is_the_shorter_of_two_clocks(
    tmp_path: Path, step: Callable[[Stepped], None], age_s: float
) -> None:
    clock = Stepped()
    async with LevelFile(tmp_path, clock=clock, log=EventList()):
        pass
    clock.advance(3.0)
    step(clock)
    async with LevelFile(tmp_path, clock=clock, log=EventList()) as file:
        assert file.past is not None
        assert file.past.age_s == pytest.approx(age_s)
