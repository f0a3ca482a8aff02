"""The provider's bill and our ledger are one sum, to the nano-dollar."""

from __future__ import annotations

import math
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
#: Refusals for the quota, near the end: limits are learned from them, and slow down the rest.
FEW = 2
#: Dollars for a million tokens: a token costs as many thousandths of a nano-dollar a million.
USUAL = {"input_usd": 2, "output_usd": 8, "cache_read_usd": 0.5}
LONG_PROMPTS = [
    {"above_tokens_in": 40, "input_usd": 4, "output_usd": 12, "cache_read_usd": 1},
    {"above_tokens_in": 25, "input_usd": 3.5, "output_usd": 9.25},
]
PRICE = {**USUAL, "long_prompts": LONG_PROMPTS}


@dataclass
class Biller:
    """Answers by chance, and keeps the true bill."""

    chance: random.Random
    billed_nanousd: int = 0
    limited: int = 0

    def answer(self, request: Received) -> Answer:
        chance, most = self.chance, request.json["max_tokens"]
        if self.limited < FEW and request.number > CALLS * 0.97:
            self.limited += 1
            return openai_error(429, "not now", headers={"retry-after": "0"})
        if chance.random() < 0.04:
            return openai_error(chance.choice((500, 503)), "busy", headers={"retry-after": "0"})
        tokens_in, tokens_out = chance.randrange(1, 60), chance.randint(1, most)
        cached = chance.randrange(0, tokens_in) if chance.random() < 0.5 else 0
        self.billed_nanousd += price_nanousd(tokens_in, cached, tokens_out)
        tell = partial(openai_stream, ["some ", "words"]) if _streams(request) else openai_chat
        answer = tell(tokens_in=tokens_in, tokens_out=tokens_out, cached=cached)
        return Answer((Wait(chance.choice((0.0, 0.001, 0.004))), *answer.steps))


def price_nanousd(tokens_in: int, cached: int, tokens_out: int) -> int:
    """Bill as the provider does, in floats that are exact, rounded up once."""
    steps = sorted(LONG_PROMPTS, key=lambda step: step["above_tokens_in"])
    rates = USUAL
    for step in steps:
        if tokens_in > step["above_tokens_in"]:
            rates = step
    read = rates.get("cache_read_usd", rates["input_usd"])
    thousandths = (tokens_in - cached) * rates["input_usd"] + cached * read
    return math.ceil((thousandths + tokens_out * rates["output_usd"]) * 1000)


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
    assert biller.limited == FEW
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
