"""The daemon itself is stopped for a while (SIGSTOP, a starved machine) and goes on."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import sutler
from tests.contract import answers
from tests.contract.answers import Answer, Gate
from tests.integration.faults.rig import Rig, held, serving
from tests.integration.node.reloads import until

HASTY_S = 1.0
STOPPED_S = 1.5
RATE_PER_S = 4
CAPACITY = 4
CALLS = 12
PRICES = {"scripted/test-model": {"input_usd": 1000, "output_usd": 1000}}


@contextlib.contextmanager
def stopped(rig: Rig) -> Iterator[None]:
    """Stop the daemon; it goes on STOPPED_S later at the earliest."""
    stat = Path(f"/proc/{rig.daemon.process.pid}/stat")
    rig.daemon.process.send_signal(signal.SIGSTOP)
    since_s = time.monotonic()
    until(lambda: stat.read_text().rpartition(")")[2].split()[0] == "T")
    try:
        yield
        time.sleep(max(0.0, since_s + STOPPED_S - time.monotonic()))
    finally:
        rig.daemon.process.send_signal(signal.SIGCONT)


@pytest.mark.fault("R4")
def test_what_came_while_it_was_stopped_is_delivered_in_time_and_paid_as_used_in_any_case(
    tmp_path: Path,
) -> None:
    whole = answers.openai_stream(["half ", "and half"])
    first, *rest = whole.steps
    with (
        serving(tmp_path, llm={"prices": PRICES}) as rig,
        rig.client() as client,
        rig.client() as other,
        contextlib.ExitStack() as stack,
    ):
        rig.answers["patient"] = held("gate", answers.openai_chat("found on waking"))
        rig.answers["hasty"] = held("gate", answers.openai_chat("too late"))
        rig.answers["streaming"] = Answer(
            (first, Gate("gate"), *rest), whole.tokens_in, whole.tokens_out
        )
        patient = client.send("chat", prompt="patient", max_tokens=50)
        hasty = other.send("chat", prompt="hasty", timeout_s=HASTY_S, max_tokens=50)
        streams = stack.enter_context(rig.client())
        streaming = streams.send("chat", prompt="streaming", stream=True, max_tokens=50)
        for prompt in ("patient", "hasty", "streaming"):
            rig.wait_until_asked(prompt)
        with stopped(rig):
            rig.provider.open("gate")
            late = stack.enter_context(rig.client())  # waits in the backlog
            late_id = late.send("chat", prompt="asked meanwhile", max_tokens=50)
        assert client.final(patient)[1]["result"]["content"] == "found on waking"
        assert other.final(hasty)[1]["error"]["data"]["type"] == "timeout"
        assert streams.final(streaming)[1]["result"]["content"] == "half and half"
        assert late.final(late_id)[1]["result"]["content"] == "to: asked meanwhile"
        until(lambda: rig.daemon.result("budget").get("pending_nanousd", 0) == 0)
        tokens = sum(rig.provider.billed_tokens())
        until(lambda: rig.daemon.result("usage")["total"]["cost_nanousd"] == tokens * 1_000_000)
        assert rig.asked("patient") == rig.asked("hasty") == rig.asked("streaming") == 1
        (circuit,) = rig.status()["circuits"]
        assert (circuit["state"], circuit["failures"]) == ("closed", 0)


@pytest.mark.fault("R4")
def test_on_waking_no_more_is_sent_than_a_full_bucket_holds_and_the_library_notices_nothing(
    tmp_path: Path,
) -> None:
    limits = {"requests_per_minute": RATE_PER_S * 60, "burst_s": CAPACITY // RATE_PER_S}
    with serving(tmp_path, llm={"rate_limits": {"scripted": limits}}) as rig:
        told: list[str] = []

        def ask(number: int) -> None:
            with sutler.Client(str(rig.daemon.socket), reconnect_s=0.0) as client:
                told.append(client.chat(f"number {number}", timeout_s=60))

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(CALLS)]
        for thread in threads:
            thread.start()
        until(lambda: len(rig.daemon.result("queue")["waiting"]) >= CALLS - CAPACITY - 2)
        with stopped(rig):
            sent = rig.asked("number")
        resumed_s = time.monotonic()
        until(lambda: rig.asked("number") > sent)
        while rig.asked("number") < CALLS:
            found = rig.asked("number") - sent
            # The clock is looked at last: a slow look allows for more, never for less.
            assert found <= CAPACITY + 1 + RATE_PER_S * (time.monotonic() - resumed_s)
            time.sleep(0.02)
        for thread in threads:
            thread.join()
        assert sorted(told) == sorted(f"to: number {number}" for number in range(CALLS))
        (circuit,) = rig.status()["circuits"]
        assert circuit["failures"] == 0
