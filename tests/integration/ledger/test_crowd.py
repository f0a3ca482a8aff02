"""Many processes spend one budget: never more than there is, and nearly all of it."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.contract.answers import Answer, openai_chat
from tests.contract.scripted import Received, ScriptedProvider
from tests.integration.ledger.conftest import NANO_IN, NANO_OUT, Start, ledger_of

SPENDER = Path(__file__).with_name("spender.py")
PROCESSES, CALLS = 64, 100
USD = 10**9


@pytest.mark.timeout(180)
def test_sixty_four_processes_spend_a_dollar_and_not_a_nano_dollar_more(
    start: Start, provider: ScriptedProvider
) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)

    def answer(request: Received) -> Answer:
        most = request.json["max_tokens"]
        return openai_chat(tokens_in=chance.randrange(1, 40), tokens_out=chance.randint(1, most))

    provider.always = answer
    daemon = start(budget={"daily_limit_usd": 1})
    processes = [
        subprocess.Popen(
            [sys.executable, str(SPENDER), str(daemon.socket), str(seed + number), str(CALLS)],
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(PROCESSES)
    ]
    told = [process.communicate(timeout=150)[0].split() for process in processes]
    spent, refused = (sum(int(each[place]) for each in told) for place in (0, 1))
    tokens_in, tokens_out = provider.billed_tokens()
    billed = tokens_in * NANO_IN + tokens_out * NANO_OUT
    assert spent == billed
    assert 0.97 * USD <= spent <= USD
    assert len(provider.bill) + refused == PROCESSES * CALLS
    last = daemon.ask("chat", prompt="too dear", max_tokens=1_000_000)["error"]["data"]
    assert (last["settled_nanousd"], last["pending_nanousd"]) == (spent, 0)
    daemon.stop()
    ledger = ledger_of(daemon)
    assert (ledger.settled(), ledger.open, ledger.unknown) == (spent, [], [])
    assert max(each.held.amount_nanousd for each in ledger.records) <= 0.02 * USD
    assert ledger.is_consistent()
