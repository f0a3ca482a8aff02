"""Accounts, budgets, records and the provider's own bill, after traffic of all kinds and kills."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

import sutler
from tests.contract.answers import Answer, Hang, openai_error
from tests.contract.scripted import Received, ScriptedProvider
from tests.integration.main_job.conftest import StartDaemon, answer
from tests.integration.main_job.test_budget_command import COST
from tests.integration.main_job.test_ledger_command import ledger
from tests.integration.main_job.test_prices import PRICES

CONFIG = (
    PRICES
    + "\nbudget: {daily_limit_usd: 1}\ndefault_max_tokens: 10\nmax_retries: 1\nledger: {drain_s: 1}"
)
CALLERS = 4
CALLS = 40


class Traffic:
    """What callers ask, and what the provider says to it, by chance. ``bill`` is its own."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.bill = 0
        self._chance = random.Random(seed)
        self._lock = threading.Lock()

    def answer(self, request: Received) -> Answer:
        with self._lock:
            fate = self._chance.random()
            if fate < 0.08:
                return openai_error(400, "no")
            if fate < 0.12:
                return Answer((Hang(),))
            if request.path.endswith("/embeddings"):
                self.bill += 20 * len(request.json["input"])
            else:
                self.bill += COST
        return answer(request)

    def ask(self, client: sutler.Client, chance: random.Random) -> None:
        prompt = f"prompt {chance.randrange(12)}"
        match chance.randrange(6):
            case 0:
                client.embed([prompt, "other"], model="test-embed", timeout_s=2)
            case 1:
                client.complete(prompt, cache="off", timeout_s=2)
            case 2:
                client.complete(prompt, temperature=9.0)
            case 3:
                list(client.stream(prompt, timeout_s=2))
            case _:
                client.complete(prompt, timeout_s=2)


@contextmanager
def answering(provider: ScriptedProvider, traffic: Traffic) -> Iterator[None]:
    before, provider.always = provider.always, traffic.answer
    try:
        yield
    finally:
        provider.always = before


def called(
    traffic: Traffic, socket: str, number: int, told: list[int], enough: threading.Event
) -> None:
    """Ask so many times, and on until it is enough: calls that a slow start lets run out of
    time, and those an endpoint in trouble is spared, never reach the provider."""
    chance = random.Random(f"{traffic.seed} {number}")
    labels = {"component": f"component {number % 2}"}
    with sutler.Client(socket, labels=labels, reconnect_s=20) as client:
        asked = 0
        while asked < CALLS or not enough.is_set():
            asked += 1
            try:
                traffic.ask(client, chance)
            except sutler.SutlerError:
                told[number] += 1
                if asked > CALLS:
                    enough.wait(0.05)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("seed", [1])
def test_every_sum_is_the_same_after_mixed_traffic_and_kills(
    start: StartDaemon, provider: ScriptedProvider, seed: int
) -> None:
    print(f"seed {seed}")
    traffic = Traffic(seed)
    told = [0] * CALLERS
    enough = threading.Event()
    daemon = start(llm=CONFIG)
    with answering(provider, traffic):
        callers = [
            threading.Thread(
                target=called, args=(traffic, str(daemon.socket), number, told, enough)
            )
            for number in range(CALLERS)
        ]
        for caller in callers:
            caller.start()
        try:
            for kill in range(2):
                asked_for = len(provider.requests) + 12
                provider.wait_until(lambda wanted=asked_for: len(provider.requests) >= wanted)
                daemon.kill()
                daemon.start()
                print(f"kill {kill + 1} after {len(provider.requests)} requests")
        finally:
            enough.set()
        for caller in callers:
            caller.join()
    with sutler.Client(str(daemon.socket)) as client:
        stands = client.budget()
        while stands["budgets"][0]["pending_nanousd"]:  # what was abandoned is still read
            time.sleep(0.05)
            stands = client.budget()
        sums = [client.usage(by=by) for by in ("day", "model", ["uid", "component"], "uid")]
        kept = client.usage(by="request")
    settled = stands["budgets"][0]["settled_nanousd"]
    for result in sums:
        assert sum(row["cost_nanousd"] for row in result["rows"]) == settled
        assert result["total"]["cost_nanousd"] == settled
    assert sum(row["cost_nanousd"] for row in kept["rows"]) == settled
    total = sums[0]["total"]
    # What hung, or was under way at a kill, is charged at its worst case; all else as billed.
    assert settled >= traffic.bill
    assert total["unknown"] > 0
    assert len(stands["unknown"]) <= total["unknown"]
    assert daemon.stop() == 0
    checked = ledger(daemon, "check")
    assert checked.returncode == 0, checked.stderr
    assert "records and accounts agree" in checked.stdout
