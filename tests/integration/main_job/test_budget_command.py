"""`sutler budget` on a real daemon: bars, what a kill leaves unknown, an operator's word."""

from __future__ import annotations

import json
import threading

import pytest

import sutler
from tests.contract.answers import Answer, Hang
from tests.contract.scripted import ScriptedProvider
from tests.integration.cli.command import AtTerminal
from tests.integration.cli.command import sutler as command
from tests.integration.main_job.conftest import StartDaemon
from tests.integration.main_job.test_prices import PRICES

BUDGET = PRICES + "\nbudget: {daily_limit_usd: 0.0009}\ndefault_max_tokens: 10"
COST = 9 * 3000 + 3 * 15_000


def test_without_a_budget_there_is_none_to_show(
    start: StartDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUTLER_SOCKET", str(start().socket))
    done = command("budget")
    assert (done.returncode, done.stdout) == (0, b"")
    assert b"no budget is set" in done.stderr
    assert b"every attempt's outcome is known" in command("budget", "--unknown").stderr


def test_a_budget_is_a_bar_and_its_end_is_told_once(
    start: StartDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    daemon = start(llm=BUDGET)
    monkeypatch.setenv("SUTLER_SOCKET", str(daemon.socket))
    with sutler.Client(str(daemon.socket)) as client:
        for number in range(3):
            client.complete(f"prompt {number}")
        (row,) = client.budget()["budgets"]
        assert (row["settled_nanousd"], row["pending_nanousd"]) == (3 * COST, 0)
        assert client.usage()["total"]["cost_nanousd"] == 3 * COST
        assert client.status()["budgets"] == [row]
    line = command("budget").stdout.decode()
    assert line.startswith("daily  node  [#####...................]  $0.000216 of $0.0009 (24 %)")
    at_terminal = AtTerminal("budget")
    assert at_terminal.end() == 0
    assert b"\x1b[32m[#####" in at_terminal.screen


def test_what_a_kill_leaves_unknown_is_listed_and_amended(
    start: StartDaemon, provider: ScriptedProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, provider.always = provider.always, Answer((Hang(),))
    try:
        daemon = start(llm=BUDGET)
        monkeypatch.setenv("SUTLER_SOCKET", str(daemon.socket))
        with sutler.Client(str(daemon.socket), reconnect_s=0.1) as client:
            lost = threading.Thread(target=_asks_and_fails, args=(client,))
            lost.start()
            provider.wait_until(lambda: bool(provider.requests))
            daemon.process.kill()
            daemon.process.wait()
            lost.join()
    finally:
        provider.always = before
    daemon.start()
    charged = json.loads(command("budget", "--json").stdout)
    (unknown,) = charged["unknown"]
    assert unknown["charged_nanousd"] == charged["budgets"][0]["settled_nanousd"] > 0
    total = json.loads(command("usage", "--json").stdout)["total"]
    assert (total["cost_nanousd"], total["unknown"]) == (unknown["charged_nanousd"], 1)
    assert unknown["request_id"].encode() in command("budget", "--unknown").stdout
    number = str(unknown["attempt"])
    assert command("budget", "--amend", number).returncode == 2
    assert command("budget", "--amend", "999", "--cost-usd", "0", "--why", "x").returncode == 1
    amended = command("budget", "--amend", number, "--cost-usd", "0.00001", "--why", "the bill")
    assert amended.returncode == 0, amended.stderr
    after = json.loads(command("budget", "--json").stdout)
    assert (after["unknown"], after["budgets"][0]["settled_nanousd"]) == ([], 10_000)
    total = json.loads(command("usage", "--json").stdout)["total"]
    assert (total["cost_nanousd"], total["unknown"]) == (10_000, 0)


def _asks_and_fails(client: sutler.Client) -> None:
    with pytest.raises(sutler.SutlerError):
        client.complete("lost")
