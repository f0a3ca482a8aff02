"""``sutlerd ledger check | backup FILE | restore FILE``."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from sutlerd.app import LEDGER
from sutlerd.config.loader import Loaded
from sutlerd.config.problems import ConfigError
from sutlerd.ledger.money import usd_text
from sutlerd.ledger.upkeep import Findings, UpkeepFailed, backup, copy_of, look_at, restore
from sutlerd.system.exits import Exit
from sutlerd.system.folders import Host, state_folder
from sutlerd.system.lmdb_sound import DATA
from sutlerd.system.lock import Locked, lock_folder


def run(
    load: Callable[[], Loaded], environ: Mapping[str, str], *, what: str, file: Path | None
) -> Exit:
    """Do what was asked for; what is wrong is said on the error stream. Raises ``CannotStart``."""
    try:
        config = load().config
    except ConfigError as error:
        for problem in error.problems:
            _complain(str(problem))
        return Exit.CONFIGURATION
    folder = state_folder(config.daemon.state_dir, Host(environ=environ)).path / LEDGER
    try:
        if what == "check":
            return _check(folder)
        if file is None:
            _complain(f"sutlerd ledger {what} needs a FILE")
            return Exit.USAGE
        if what == "backup":
            return _backup(folder, Path(os.path.abspath(file)))
        return _restore(folder, Path(os.path.abspath(file)))
    except (UpkeepFailed, OSError) as error:
        _complain(f"the ledger {folder}: {error}")
        return Exit.STORAGE


def _check(folder: Path) -> Exit:
    if not (folder / DATA).exists():
        _say(f"{folder}: there is no ledger yet; the first start makes one")
        return Exit.CLEAN
    try:
        lock = lock_folder(folder.parent, uid=os.geteuid())
    except Locked:
        with tempfile.TemporaryDirectory(prefix=".ledger-", dir=folder.parent) as scratch:
            copy_of(folder, Path(scratch))
            return _judged(folder, look_at(Path(scratch)))
    try:
        return _judged(folder, look_at(folder))
    finally:
        lock.release()


def _backup(folder: Path, file: Path) -> Exit:
    if not (folder / DATA).exists():
        raise UpkeepFailed("there is none yet")
    exit_code = _judged(folder, backup(folder, file))
    if exit_code is Exit.CLEAN:
        _say(f"copied to {file}, {file.stat().st_size} bytes")
    else:
        _complain("not backed up: a backup is of a sound ledger only")
    return exit_code


def _restore(folder: Path, file: Path) -> Exit:
    lock = lock_folder(folder.parent, uid=os.geteuid())
    try:
        kept_as = folder.with_name(f"{folder.name}.replaced-{time.time_ns()}")
        had_one = folder.exists()
        exit_code = _judged(file, restore(folder, file, kept_as=kept_as))
        if exit_code is not Exit.CLEAN:
            _complain("not restored: nothing was changed")
            return exit_code
    finally:
        lock.release()
    _say(f"restored to {folder}" + (f"; what was there is in {kept_as}" if had_one else ""))
    _say("what was spent since the backup is not in it: budgets of today count from there")
    return exit_code


def _judged(path: Path, findings: Findings) -> Exit:
    for problem in findings.problems:
        _complain(f"{path}: {problem}")
    if findings.problems:
        return Exit.STORAGE
    told = f"{path}: sound; {findings.records} records, {findings.open} open"
    _say(f"{told}, {findings.unknown} unknown")
    for day, settled in sorted(findings.settled_by_day.items()):
        _say(f"{day}: ${usd_text(settled)} settled; records and accounts agree")
    return Exit.CLEAN


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")


def _complain(text: str) -> None:
    sys.stderr.write(f"sutlerd: {text}\n")
