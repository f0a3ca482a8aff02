"""Examples in docstrings are run as they stand, with a scripted daemon behind them."""

from __future__ import annotations

import doctest
import importlib

import pytest

from sutler.testing import FakeDaemon
from tests.tidy.sources import package

WITH_EXAMPLES = [
    source.module for source in package("sutler") + package("sutlerd") if ">>> " in source.text
]


@pytest.mark.parametrize("module", WITH_EXAMPLES)
def test_the_examples_say_what_happens(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with FakeDaemon() as daemon:
        monkeypatch.setenv("SUTLER_SOCKET", daemon.socket_path)
        daemon.reply("chat", "Paris")
        outcome = doctest.testmod(importlib.import_module(module))
    assert outcome.attempted
    assert outcome.failed == 0
