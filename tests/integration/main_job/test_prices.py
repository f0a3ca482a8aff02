"""What callers are told of money: prices, what an answer cost, what a stored one saved."""

from __future__ import annotations

import sutler
from tests.contract.scripted import ScriptedProvider
from tests.integration.main_job.conftest import StartDaemon

PRICES = """\
prices:
  scripted/test-model: {input_usd: 3, output_usd: 15, cache_read_usd: 0.3}
  test-embed: {input_usd: 0.02, output_usd: 0}"""


def test_an_answer_says_what_it_cost_and_a_stored_one_what_it_saved(
    start: StartDaemon, provider: ScriptedProvider
) -> None:
    daemon = start(llm=PRICES)
    with sutler.Client(str(daemon.socket)) as client:
        first, second = client.complete("one"), client.complete("one")
        cost = 9 * 3000 + 3 * 15_000
        assert (first.cost_nanousd, first.saved_nanousd) == (cost, 0)
        assert (second.cost_nanousd, second.saved_nanousd) == (0, cost)
        vectors = client.embed(["a", "b"], model="test-embed")
        assert vectors.cost_nanousd == 2 * 20
        prices = {row["id"]: row["price"] for row in client.models()}
    assert prices["test-model"]["input_usd"] == "3"
    assert prices["test-embed"]["source"] == "configuration"


def test_a_cost_that_nobody_knows_is_null_and_never_nothing(start: StartDaemon) -> None:
    daemon = start()
    with sutler.Client(str(daemon.socket)) as client:
        first, second = client.complete("one"), client.complete("one")
        assert (first.cost_nanousd, first.saved_nanousd) == (None, 0)
        assert (second.cost_nanousd, second.saved_nanousd) == (0, None)
        assert {row["price"] for row in client.models()} == {None}
    assert "price_unknown" in daemon.log()
