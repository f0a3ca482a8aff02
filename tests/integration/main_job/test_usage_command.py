"""`sutler usage` and `sutler report`, as a person, a script and an epilog see them."""

from __future__ import annotations

import csv
import io
import json

import pytest

import sutler
from tests.contract.scripted import ScriptedProvider
from tests.integration.cli.command import AtTerminal
from tests.integration.cli.command import sutler as command
from tests.integration.main_job.conftest import StartDaemon
from tests.integration.main_job.test_prices import PRICES
from tests.support.daemon_process import DaemonProcess


@pytest.fixture(name="daemon")
def _daemon(
    start: StartDaemon, provider: ScriptedProvider, monkeypatch: pytest.MonkeyPatch
) -> DaemonProcess:
    daemon = start(llm=PRICES)
    monkeypatch.setenv("SUTLER_SOCKET", str(daemon.socket))
    for component in ("planner", "=cmd|' /C calc'!A0"):
        with sutler.Client(str(daemon.socket), labels={"component": component}) as client:
            client.complete("one")
            client.complete("one")
            client.complete(component, max_tokens=7)
    with (
        sutler.Client(str(daemon.socket)) as client,
        pytest.raises(sutler.SutlerError, match="nothing is stored"),
    ):
        client.complete("never asked", cache="only")
    return daemon


def test_usage_is_a_table_for_a_person(daemon: DaemonProcess) -> None:
    lines = command("usage", "--by", "component").stdout.decode().splitlines()
    assert lines[0].split() == [
        *("component", "calls", "cached", "errors", "tokens", "in", "tokens", "out"),
        *("cost", "saved"),
    ]
    planner = next(line for line in lines if line.startswith("planner"))
    assert planner.split() == ["planner", "3", "1", "0", "18", "6", "$0.000144", "$0.000072"]
    assert lines[-1].split()[:4] == ["total", "7", "3", "1"]
    assert len({len(line) for line in lines}) == 1
    at_terminal = AtTerminal("usage", "--by", "model,component")
    assert at_terminal.end() == 0
    assert b"\x1b[1m" in at_terminal.screen


def test_usage_is_exact_for_programs(daemon: DaemonProcess) -> None:
    answer = json.loads(command("usage", "--by", "provider,model", "--json").stdout)
    assert answer["total"]["cost_nanousd"] == 216_000
    written = command("usage", "--by", "component", "--csv").stdout.decode()
    rows = list(csv.DictReader(io.StringIO(written)))
    assert sum(int(row["cost_nanousd"]) for row in rows) == 216_000
    assert all(not row["component"].startswith("=") for row in rows)


def test_usage_takes_days_and_says_what_is_wrong_with_them(daemon: DaemonProcess) -> None:
    assert command("usage", "--since", "7d", "--until", "today").returncode == 0
    nothing = command("usage", "--until", "2001-01-01", "--since", "2000-01-01")
    assert (nothing.returncode, nothing.stdout) == (0, b"")
    assert b"nothing was asked from 2000-01-01 to 2001-01-01" in nothing.stderr
    for words in (["--since", "soon"], ["--by", "day,weather"], ["--by", "request,day"]):
        refused = command("usage", *words)
        assert refused.returncode == 2
        assert refused.stderr.startswith(b"sutler: ")


def test_a_report_says_what_a_job_was_given(daemon: DaemonProcess) -> None:
    outside = command("report")
    assert outside.returncode == 1
    assert b"no batch job" in outside.stderr
    text = command("report", "--job", "4711").stdout.decode()
    assert text.splitlines()[0].startswith("job 4711, ")
    assert "asked   nothing" in text
