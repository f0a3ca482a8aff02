from __future__ import annotations

import asyncio

import pytest

from sutlerd.config.schema_llm import LlmConfig
from sutlerd.domain.call import Route
from sutlerd.pipeline.circuits import Circuits, Entry, RouteClosed, Sign, signs
from sutlerd.providers.contract import AttemptFailed, Outcome, Verdict
from sutlerd.providers.failures import lost, not_sent, redirected
from tests.support.event_list import EventList
from tests.support.virtual_loop import VirtualLoop, run_virtually

FAR, NEAR = Route(provider="far", model="m"), Route(provider="near", model="m")
LLM = LlmConfig.model_validate(
    {
        "default_provider": "far",
        "providers": {
            "far": {
                "kind": "openai_compatible",
                "base_url": "http://far.example/v1",
                "default_model": "m",
            },
            "near": {"kind": "llama_cpp", "default_model": "m"},
        },
    }
)


def status(code: int, *, verdict: Verdict = Verdict.RETRY) -> AttemptFailed:
    return AttemptFailed(
        f"HTTP {code}",
        verdict=verdict,
        outcome=Outcome.NOT_BILLED,
        kind=f"http_{code}",
        status=code,
    )


def test_what_each_failure_says_of_the_endpoint_and_of_the_model() -> None:
    well, ill, nothing = Sign.WELL, Sign.ILL, Sign.NOTHING
    for failure, expected in [
        (status(503), (well, ill)),
        (status(429), (well, well)),
        (status(400, verdict=Verdict.REFUSED), (well, well)),
        (status(413, verdict=Verdict.TOO_LONG), (well, well)),
        (status(401), (nothing, nothing)),
        (not_sent("connect", "refused"), (ill, nothing)),
        (not_sent("timeout", "no slot"), (nothing, nothing)),
        (not_sent("process_unavailable", "starting"), (nothing, nothing)),
        (lost("reset", "gone"), (ill, nothing)),
        (lost("timeout", "slow"), (nothing, ill)),
    ]:
        assert signs(failure, local=False) == expected, failure.kind
    assert signs(lost("timeout", "loads a model"), local=True) == (nothing, nothing)


class Node:
    def __init__(self) -> None:
        self.loop = VirtualLoop()
        self.log = EventList()
        self.circuits = Circuits(llm=LLM, clock=self.loop, log=self.log)

    def fail(self, route: Route, failure: AttemptFailed, times: int = 1) -> None:
        for _ in range(times):
            self.circuits.failed(self.circuits.enter(route), failure)

    def closed_for_s(self, route: Route) -> float | None:
        with pytest.raises(RouteClosed) as closed:
            self.circuits.check(route)
        return closed.value.retry_after_s


@pytest.mark.fault("P4")
@pytest.mark.fault("P7")
@pytest.mark.parametrize(
    ("route", "failure", "closed_for_s"),
    [
        (FAR, status(401, verdict=Verdict.CLOSED), 3600.0),
        (FAR, status(402, verdict=Verdict.CLOSED), 3600.0),
        (FAR, redirected(302, "far"), 2.0),
        (FAR, not_sent("tls", "expired", verdict=Verdict.CLOSED), 2.0),
        (FAR, status(404, verdict=Verdict.MODEL_GONE), None),
        (NEAR, status(404, verdict=Verdict.MODEL_GONE), 60.0),
        (NEAR, status(401, verdict=Verdict.CLOSED), 60.0),
    ],
)
def test_a_verdict_closes_for_as_long_as_its_trouble_usually_lasts(
    route: Route, failure: AttemptFailed, closed_for_s: float | None
) -> None:
    async def live() -> None:
        node.fail(route, failure)
        assert node.closed_for_s(route) == closed_for_s
        assert len(node.log.named("circuit_open")) == 1
        other = Route(provider=route.provider, model="other")
        assert node.circuits.is_asked(other) is (failure.verdict is Verdict.MODEL_GONE)

    node = Node()
    run_virtually(node.loop, live())


def test_a_local_server_that_is_down_is_probed_every_minute() -> None:
    async def live() -> None:
        node.fail(NEAR, not_sent("connect", "refused"), times=10)
        for _ in range(3):
            assert node.closed_for_s(NEAR) == 60.0
            await asyncio.sleep(60.0)
            probe = node.circuits.enter(NEAR)
            assert not node.circuits.is_asked(NEAR)
            node.circuits.failed(probe, not_sent("connect", "refused"))
        await asyncio.sleep(60.0)
        node.circuits.succeeded(node.circuits.enter(NEAR))
        assert node.circuits.is_asked(NEAR)
        assert len(node.log.named("circuit_closed")) == 1

    node = Node()
    run_virtually(node.loop, live())


def test_a_model_known_to_be_gone_without_asking_closes_nothing() -> None:
    async def live() -> None:
        node.fail(FAR, not_sent("model_gone", "retired", verdict=Verdict.MODEL_GONE), times=20)
        assert node.circuits.is_asked(FAR)

    node = Node()
    run_virtually(node.loop, live())


def test_what_breaks_while_this_process_sleeps_is_no_mark_against_anybody() -> None:
    async def live() -> None:
        entries = [node.circuits.enter(FAR) for _ in range(20)]
        await asyncio.sleep(0.5)
        node.loop._jumping.now_s += 30.0  # stopped, and going on
        await asyncio.sleep(0.6)
        for entry in entries:
            node.circuits.failed(entry, lost("reset", "gone"))
        assert node.circuits.is_asked(FAR)
        # What fails afterwards counts again.
        await asyncio.sleep(5.0)
        node.fail(FAR, lost("reset", "gone"), times=10)
        assert not node.circuits.is_asked(FAR)

    node = Node()
    run_virtually(node.loop, live())


def test_a_probe_that_nobody_waits_for_any_more_is_not_the_last() -> None:
    async def live() -> None:
        node.fail(FAR, status(503), times=10)
        await asyncio.sleep(2.0)
        probe: Entry = node.circuits.enter(FAR)
        assert not node.circuits.is_asked(FAR)
        probe.release()
        probe.release()
        assert node.circuits.is_asked(FAR)
        node.circuits.succeeded(node.circuits.enter(FAR))
        (row,) = node.circuits.snapshot()
        assert (row["provider"], row["model"], row["state"]) == ("far", None, "closed")

    node = Node()
    run_virtually(node.loop, live())


def test_an_operators_word_and_a_reload_give_everybody_another_chance() -> None:
    async def live() -> None:
        for again in (lambda: node.circuits.reset("far"), lambda: node.circuits.adopt(LLM)):
            node.fail(FAR, status(404, verdict=Verdict.MODEL_GONE))
            node.fail(Route(provider="far", model="n"), status(401, verdict=Verdict.CLOSED))
            assert not node.circuits.is_asked(FAR)
            again()
            assert node.circuits.is_asked(FAR)

    node = Node()
    run_virtually(node.loop, live())


def test_models_that_callers_make_up_are_not_remembered_for_ever() -> None:
    async def live() -> None:
        for number in range(3000):
            made_up = Route(provider="near", model=f"made up {number}")
            node.fail(made_up, status(404, verdict=Verdict.MODEL_GONE))
        assert len(node.circuits.snapshot()) <= 1025

    node = Node()
    run_virtually(node.loop, live())
