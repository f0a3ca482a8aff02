"""One quota for all: many processes' calls in front of a provider that counts them."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import sutler
from tests.contract.answers import Answer, openai_chat, openai_error
from tests.contract.scripted import Received, ScriptedProvider
from tests.integration.main_job.conftest import configured
from tests.support.daemon_process import DaemonProcess

PER_S = 10.0
BURST = 10.0


class CountingProvider:
    """Refuses what is over its own bucket, as real ones do, and says how much is left."""

    def __init__(self) -> None:
        self.level, self.seen_s = BURST, time.monotonic()
        self.refused = 0

    def __call__(self, request: Received) -> Answer:
        now_s = time.monotonic()
        self.level = min(BURST, self.level + (now_s - self.seen_s) * PER_S)
        self.seen_s = now_s
        # Clocks of two processes: what comes a moment early is not refused.
        if self.level < 0.5:
            self.refused += 1
            return openai_error(429, "slow down", headers={"retry-after": 1})
        self.level -= 1.0
        return openai_chat("ok")


@pytest.fixture
def counting() -> Iterator[tuple[ScriptedProvider, CountingProvider]]:
    rule = CountingProvider()
    with ScriptedProvider.in_thread(always=rule) as provider:
        yield provider, rule


def ask_at_once(daemon: DaemonProcess, count: int, clients: int) -> list[sutler.Completion]:
    replies: list[sutler.Completion] = []

    def ask(first: int) -> None:
        with sutler.Client(str(daemon.socket)) as client:
            prompts = [f"q {number}" for number in range(first, count, clients)]
            replies.extend(client.map(prompts, temperature=1.0))

    threads = [threading.Thread(target=ask, args=(first,)) for first in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return replies


def test_no_call_is_refused_by_a_provider_whose_limits_are_known(
    counting: tuple[ScriptedProvider, CountingProvider], folder: Path
) -> None:
    provider, rule = counting
    limits = (
        f"rate_limits:\n  scripted:\n    requests_per_minute: {PER_S * 60:.0f}"
        f"\n    burst_s: {BURST / PER_S}"
    )
    with DaemonProcess(folder / "known", config=configured(provider, limits)) as daemon:
        replies = ask_at_once(daemon, 40, 8)
    assert len(replies) == 40
    assert rule.refused == 0
    assert len(provider.requests) == 40
    assert any(reply.trace["bucket"] == "requests" for reply in replies)


@pytest.mark.fault("P1")
def test_a_refusal_closes_the_bucket_for_all_who_wait_and_all_are_answered(
    counting: tuple[ScriptedProvider, CountingProvider], folder: Path
) -> None:
    provider, rule = counting
    with DaemonProcess(folder / "unknown", config=configured(provider)) as daemon:
        replies = ask_at_once(daemon, 16, 4)
    assert len(replies) == 16
    assert all(reply.content == "ok" for reply in replies)
    assert 0 < rule.refused < 16


@pytest.mark.fault("P1")
def test_a_wait_past_the_deadline_is_refused_on_arrival_with_the_time_to_come_back(
    counting: tuple[ScriptedProvider, CountingProvider], folder: Path
) -> None:
    provider, _ = counting
    limits = "rate_limits:\n  scripted: {requests_per_minute: 1}"
    with (
        DaemonProcess(folder / "slow", config=configured(provider, limits)) as daemon,
        sutler.Client(str(daemon.socket)) as client,
    ):
        client.complete("first", temperature=1.0)
        started_s = time.monotonic()
        with pytest.raises(sutler.RateLimited) as refused:
            client.complete("second", temperature=1.0, timeout_s=20)
        assert time.monotonic() - started_s < 10
        assert refused.value.retry_after_s == pytest.approx(60, abs=15)
        assert client.call("queue", {}) == {"waiting": []}


@pytest.mark.fault("O1")
def test_who_waits_in_the_queue_is_told_at_once_when_the_daemon_stops(
    counting: tuple[ScriptedProvider, CountingProvider], folder: Path
) -> None:
    provider, _ = counting
    limits = "rate_limits:\n  scripted: {requests_per_minute: 1}"
    with DaemonProcess(folder / "stops", config=configured(provider, limits)) as daemon:
        daemon.result("complete", prompt="first", temperature=1.0)
        told: list[dict[str, object]] = []
        waiting = threading.Thread(
            target=lambda: told.append(daemon.ask("complete", prompt="second", temperature=1.0))
        )
        waiting.start()
        until_s = time.monotonic() + 20
        while not daemon.result("queue")["waiting"]:
            assert time.monotonic() < until_s
            time.sleep(0.01)
        shown = subprocess.run(
            [sys.executable, "-m", "sutler", "--socket", str(daemon.socket), "queue"],
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        assert "requests" in shown
        assert "normal" in shown
        assert daemon.stop() == 0
        waiting.join()
    (answer,) = told
    assert answer["error"]["data"]["type"] == "shutting_down"  # type: ignore[index]  # a reply
