"""`sutlerd ledger`: beside a running daemon, of what a kill left, of what was damaged."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import sutler
from tests.integration.main_job.conftest import StartDaemon
from tests.integration.main_job.test_budget_command import BUDGET, COST
from tests.support.daemon_process import DaemonProcess

CLEAN, STORAGE, ALREADY_RUNNING, USAGE = 0, 74, 75, 64


def ledger(daemon: DaemonProcess, *words: str) -> subprocess.CompletedProcess[str]:
    order = [sys.executable, "-m", "sutlerd", "ledger", *words, "--state-dir", str(state(daemon))]
    return subprocess.run(order, capture_output=True, text=True, timeout=60, check=False)


def state(daemon: DaemonProcess) -> Path:
    return next(daemon.folder.glob("*/ledger")).parent


def asked(daemon: DaemonProcess, *prompts: str) -> int:
    """Ask, and give what the budgets say is spent."""
    with sutler.Client(str(daemon.socket)) as client:
        for prompt in prompts:
            client.complete(prompt)
        spent: int = client.budget()["budgets"][0]["settled_nanousd"]
    return spent


def test_a_backup_of_a_running_ledger_is_restored_after_it_was_damaged(
    start: StartDaemon, tmp_path: Path
) -> None:
    daemon = start(llm=BUDGET)
    assert asked(daemon, "one", "two") == 2 * COST
    checked = ledger(daemon, "check")
    assert checked.returncode == CLEAN, checked.stderr
    assert "2 records, 0 open, 0 unknown" in checked.stdout
    assert "$0.000144 settled; records and accounts agree" in checked.stdout
    backup = tmp_path / "ledger.backup"
    done = ledger(daemon, "backup", str(backup))
    assert done.returncode == CLEAN, done.stderr
    assert backup.stat().st_mode & 0o777 == 0o600
    assert ledger(daemon, "backup", str(backup)).returncode == STORAGE
    refused = ledger(daemon, "restore", str(backup))
    assert refused.returncode == ALREADY_RUNNING
    assert "another sutlerd" in refused.stderr
    assert asked(daemon, "three") == 3 * COST
    daemon.kill()

    data = state(daemon) / "ledger" / "data.mdb"
    whole = data.read_bytes()
    data.write_bytes(whole[: len(whole) // 2])
    checked = ledger(daemon, "check")
    assert checked.returncode == STORAGE
    assert checked.stderr.startswith("sutlerd: ")
    assert ledger(daemon, "backup", str(tmp_path / "other")).returncode == STORAGE
    assert not (tmp_path / "other").exists()
    restored = ledger(daemon, "restore", str(backup))
    assert restored.returncode == CLEAN, restored.stderr
    assert "what was there is in" in restored.stdout
    assert {path.stat().st_mode & 0o777 for path in (state(daemon) / "ledger").glob("*.mdb")} == {
        0o600
    }
    daemon.start()
    assert asked(daemon) == 2 * COST
    assert not list(state(daemon).glob(".ledger-*"))


def test_a_value_that_was_flipped_is_found_and_is_no_backup(
    start: StartDaemon, tmp_path: Path
) -> None:
    daemon = start(llm=BUDGET)
    asked(daemon, "one")
    backup = tmp_path / "backup"
    assert ledger(daemon, "backup", str(backup)).returncode == CLEAN
    daemon.stop()
    # Everywhere, because pages that are no longer used hold older copies.
    backup.write_bytes(backup.read_bytes().replace(b'"node/day"', b'"Node/day"'))
    before = (state(daemon) / "ledger" / "data.mdb").read_bytes()
    refused = ledger(daemon, "restore", str(backup))
    assert refused.returncode == STORAGE
    assert "nothing was changed" in refused.stderr
    assert (state(daemon) / "ledger" / "data.mdb").read_bytes() == before
    assert ledger(daemon, "check").returncode == CLEAN


def test_what_is_missing_is_said(start: StartDaemon, tmp_path: Path) -> None:
    daemon = start()
    assert ledger(daemon, "backup").returncode == USAGE
    assert ledger(daemon, "restore", str(tmp_path / "no")).returncode == ALREADY_RUNNING
    daemon.stop()
    assert ledger(daemon, "restore", str(tmp_path / "no")).returncode == STORAGE
