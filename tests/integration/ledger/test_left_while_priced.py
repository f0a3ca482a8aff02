"""A caller that leaves while the price of its answer is being looked up.

The published list of prices is read in a thread, and here that takes as long as the test wants:
a package of the same name stands before it, and reads from a pipe.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.contract.answers import openai_chat
from tests.contract.scripted import ScriptedProvider
from tests.integration.ledger.conftest import configured, ledger_of
from tests.support.daemon_process import DaemonProcess
from tests.support.wire_client import WireClient

BLOCKS = "import os\nopen(os.environ['PRICES_PIPE']).read()\nraise ImportError('no list')\n"


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="sp-") as path:
        yield Path(path)


def serving(folder: Path, provider: ScriptedProvider, **llm: Any) -> DaemonProcess:
    package = folder / "before" / "genai_prices"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(BLOCKS)
    os.mkfifo(folder / "pipe")
    path = os.pathsep.join(filter(None, (str(package.parent), os.environ.get("PYTHONPATH"))))
    return DaemonProcess(
        folder / "d",
        config=configured(
            provider,
            budget={"daily_limit_usd": 1},
            rate_limits={"scripted": {"calls_in_flight": 1}},
            **llm,
        ),
        environ={"PYTHONPATH": path, "PRICES_PIPE": str(folder / "pipe")},
    )


def test_a_call_cut_while_its_price_is_looked_up_gives_its_permit_back_and_is_charged(
    folder: Path, provider: ScriptedProvider
) -> None:
    with ExitStack() as stack:
        daemon = stack.enter_context(serving(folder, provider, ledger={"on_disconnect": "cancel"}))
        provider.queue.append(openai_chat(model="unheard-of"))
        client = stack.enter_context(WireClient(daemon.socket))
        asked = client.send("chat", prompt="x")
        # Opens when the other end does: the list is being read.
        with (folder / "pipe").open("w"):
            client.send("cancel", id=asked)
            assert {client.line()["id"], client.line()["id"]} == {asked, asked + 1}
            # The only place is free again.
            assert client.result("chat", prompt="y")["content"]
        daemon.stop()
        cut, answered = ledger_of(daemon).records
        assert (cut.why, cut.cost_nanousd) == ("charged_in_full", cut.held.amount_nanousd)
        assert answered.why is None


def test_a_call_that_is_drained_is_drained_until_its_price_is_known(
    folder: Path, provider: ScriptedProvider
) -> None:
    with ExitStack() as stack:
        daemon = stack.enter_context(serving(folder, provider))
        provider.queue.append(openai_chat(model="unheard-of"))
        client = stack.enter_context(WireClient(daemon.socket))
        asked = client.send("chat", prompt="x")
        with (folder / "pipe").open("w"):
            client.send("cancel", id=asked)
            assert {client.line()["id"], client.line()["id"]} == {asked, asked + 1}
            assert client.result("status")["buckets"][0]["in_flight"] == 1
        assert client.result("chat", prompt="y")["content"]
        assert client.result("status")["buckets"][0]["in_flight"] == 0
        daemon.stop()
        left, _ = ledger_of(daemon).records
        # Nobody has priced what served, and its use is known.
        assert left.usage is not None
        assert left.cost_nanousd == left.held.amount_nanousd
