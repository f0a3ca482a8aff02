"""A provider with prices, and daemons in front of it whose ledger can be read afterwards."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from sutlerd.app import LEDGER
from tests.contract.scripted import ScriptedProvider
from tests.support.daemon_process import DaemonProcess
from tests.support.ledger_file import LedgerFile, read_ledger

#: Dollars for a million tokens: $1 a token in, $2 a token out, in nano-dollars a thousandth.
NANO_IN, NANO_OUT = 1000, 2000
PRICES = {
    "test-model": {"input_usd": 1, "output_usd": 2},
    "test-embed": {"input_usd": 1, "output_usd": 0},
}

Start = Callable[..., DaemonProcess]


def configured(provider: ScriptedProvider, *, embeds: bool = False, **llm: Any) -> str:
    """Write a configuration; ``llm`` are groups and settings of the ``llm`` group. ``embeds``:
    the provider has a model for texts, too."""
    settings = {
        "default_provider": "scripted",
        "default_max_tokens": 100,
        "max_retries": 0,
        "providers": {
            "scripted": {
                "kind": "openai_compatible",
                "base_url": provider.base_url,
                "api_key": "not-a-real-key-1234",
                "default_model": "test-model",
                "models": ["test-model", "unpriced"],
                "embed_models": ["test-embed"] if embeds else [],
            }
        },
        "prices": PRICES,
        **llm,
    }
    return json.dumps({"llm": settings})


def ledger_of(daemon: DaemonProcess) -> LedgerFile:
    """Read the ledger of a daemon that has ended."""
    return read_ledger(daemon.folder / "state" / LEDGER)


@pytest.fixture
def provider() -> Iterator[ScriptedProvider]:
    with ScriptedProvider.in_thread() as scripted:
        yield scripted


@pytest.fixture
def start(provider: ScriptedProvider) -> Iterator[Start]:
    """Start a daemon with settings of the ``llm`` group; again on the same folder."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sl-")))

        def started(**llm: Any) -> DaemonProcess:
            text = configured(provider, **llm)
            return stack.enter_context(DaemonProcess(folder, config=text))

        yield started
