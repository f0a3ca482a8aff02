"""The provider's bill and our ledger are one sum, to the nano-dollar."""

from __future__ import annotations

import os
import random
from dataclasses import dataclass
from functools import partial

import pytest

from tests.contract.answers import Answer, Wait, openai_chat, openai_error, openai_stream
from tests.contract.scripted import Received, ScriptedProvider
from tests.integration.ledger.conftest import Start, ledger_of
from tests.support.wire_client import WireClient

LONG = os.environ.get("SUTLER_LONG") == "1"
CALLS = 10_000 if LONG else 3_000
AT_ONCE = 24
#: Dollars for a million tokens, written so that a token costs a whole number of nano-dollars.
PRICE = {"input_usd": 2, "output_usd": 8, "cache_read_usd": 0.5}
NANO_IN, NANO_OUT, NANO_READ = 2000, 8000, 500


@dataclass
class Biller:
    """Answers by chance, and keeps the true bill."""

    chance: random.Random
    billed_nanousd: int = 0

    def answer(self, request: Received) -> Answer:
        chance, most = self.chance, request.json["max_tokens"]
        if chance.random() < 0.04:
            return openai_error(503, "busy", headers={"retry-after": "0"})
        tokens_in, tokens_out = chance.randrange(1, 60), chance.randint(1, most)
        cached = chance.randrange(0, tokens_in) if chance.random() < 0.5 else 0
        plain = tokens_in - cached
        self.billed_nanousd += plain * NANO_IN + cached * NANO_READ + tokens_out * NANO_OUT
        tell = partial(openai_stream, ["some ", "words"]) if _streams(request) else openai_chat
        answer = tell(tokens_in=tokens_in, tokens_out=tokens_out, cached=cached)
        return Answer((Wait(chance.choice((0.0, 0.001, 0.004))), *answer.steps))


def _streams(request: Received) -> bool:
    return bool(request.json.get("stream"))


@pytest.mark.timeout(0 if LONG else 120)
def test_the_bill_and_the_ledger_are_one_sum(start: Start, provider: ScriptedProvider) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    biller = Biller(random.Random(seed))
    provider.always = biller.answer
    daemon = start(
        prices={"test-model": PRICE},
        budget={"daily_limit_usd": 1000},
        max_retries=2,
        retry={"budget_pct": 100},
    )
    left, told_nanousd = CALLS, 0
    while left:
        # Who leaves is drained: what it asked for is answered, paid and booked all the same.
        asks = min(left, 200)
        with WireClient(daemon.socket) as client:
            open_ids: set[object] = set()
            for number in range(asks):
                stream = chance.random() < 0.4
                open_ids.add(
                    client.send(
                        "chat",
                        prompt=f"{left}-{number}",
                        max_tokens=chance.randrange(1, 300),
                        stream=stream,
                        cache="off",
                    )
                )
                while len(open_ids) >= AT_ONCE:
                    told_nanousd += _taken(client, open_ids)
            while len(open_ids) > AT_ONCE // 2:
                told_nanousd += _taken(client, open_ids)
        left -= asks
    with WireClient(daemon.socket) as client:
        while client.result("status")["process"]["flights"]:
            pass
    daemon.stop()
    ledger = ledger_of(daemon)
    assert {each.state for each in ledger.records} == {"settled"}
    assert {each.why for each in ledger.records} <= {None, "not_billed"}
    assert ledger.settled() == biller.billed_nanousd
    assert 0 < told_nanousd <= biller.billed_nanousd
    assert ledger.is_consistent()
    assert not ledger.open


def _taken(client: WireClient, open_ids: set[object]) -> int:
    """Take one line; give what it says a call cost."""
    line = client.line()
    if line.get("method") == "chunk":
        return 0
    open_ids.discard(line["id"])
    return int(line["result"]["cost_nanousd"]) if "result" in line else 0
