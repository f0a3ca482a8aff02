"""Looking at a ledger, taking a copy of it, and putting one in its place. Blocking.

A copy is taken in one read transaction, by a process of its own: so it is whole while a daemon
goes on writing, and what a damaged file does to its reader happens to nobody else. What is
checked or restored is always such a copy, or a file that nobody else has open.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import lmdb
import orjson

from sutlerd.ledger.account_store import MARKS, ROWS, SUMS
from sutlerd.ledger.alerts import decode_alert
from sutlerd.ledger.place import ASKERS, BALANCES, DATABASES, LOCK, META, OPEN, RECORDS, UNKNOWN
from sutlerd.ledger.records import (
    FORMAT,
    Damaged,
    Ended,
    decode_asker,
    decode_balance,
    decode_ended,
    decode_held,
    unseal,
)
from sutlerd.ledger.rows import UsageRow
from sutlerd.ledger.sums import Sums
from sutlerd.system.lmdb_sound import DATA, problem_found

_COPY_LIMIT_S: Final = 900.0
_MOST_PROBLEMS: Final = 20
_COPY: Final = """\
import os, sys, lmdb
os.umask(0o077)
with lmdb.open(sys.argv[1], readonly=True, create=False, lib_version=0, readahead=False) as env:
    env.copy(sys.argv[2])
"""


@dataclass(kw_only=True)
class Findings:
    """What a look at a ledger found; sound without ``problems``."""

    problems: list[str] = field(default_factory=list)
    records: int = 0
    open: int = 0
    unknown: int = 0
    settled_by_day: Counter[str] = field(default_factory=Counter)

    def add(self, problem: str) -> None:
        if len(self.problems) < _MOST_PROBLEMS:
            self.problems.append(problem)


class UpkeepFailed(Exception):
    """Nothing was changed; the message says why."""


def copy_of(folder: Path, into: Path) -> None:
    """Copy the ledger in ``folder`` into an empty folder. Raises ``UpkeepFailed``."""
    order = [sys.executable, "-P", "-c", _COPY, str(folder), str(into)]
    try:
        done = subprocess.run(
            order,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_COPY_LIMIT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise UpkeepFailed(f"copying took longer than {_COPY_LIMIT_S:.0f} s") from None
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        raise UpkeepFailed(f"it cannot be copied: {said or f'code {done.returncode}'}")
    os.chmod(into / DATA, 0o600)


def look_at(folder: Path) -> Findings:
    """Look at every page, every value, and whether the sums agree, of a ledger that nobody
    else has open."""
    findings = Findings()
    problem = problem_found(folder)
    if problem is not None:
        findings.add(problem)
        return findings
    try:
        with lmdb.open(
            str(folder),
            readonly=True,
            lock=False,
            create=False,
            max_dbs=len(DATABASES),
            lib_version=0,
        ) as env:
            _look_inside(env, findings)
    except (lmdb.Error, OSError) as error:
        findings.add(str(error))
    return findings


def backup(folder: Path, file: Path) -> Findings:
    """Write a copy that has been looked at to ``file``, mode 0600.

    A ledger that is not sound is not backed up. Raises ``UpkeepFailed``, and ``OSError``.
    """
    if file.exists():
        raise UpkeepFailed(f"{file} is there already: name another file, or move it away")
    with tempfile.TemporaryDirectory(prefix=".ledger-", dir=file.parent) as scratch:
        copy_of(folder, Path(scratch))
        findings = look_at(Path(scratch))
        if not findings.problems:
            _sync(Path(scratch) / DATA)
            os.link(Path(scratch) / DATA, file)  # fails where somebody was quicker
            _sync(file.parent)
    return findings


def restore(folder: Path, file: Path, *, kept_as: Path) -> Findings:
    """Put a backup in the place of the ledger in ``folder``, which goes to ``kept_as``.

    The caller holds the lock. Raises ``OSError``; a backup that is not sound changes nothing.
    """
    scratch = Path(tempfile.mkdtemp(prefix=".ledger-", dir=folder.parent))
    try:
        with file.open("rb") as source, (scratch / DATA).open("xb") as copy:
            os.fchmod(copy.fileno(), 0o600)
            shutil.copyfileobj(source, copy)
            copy.flush()
            os.fsync(copy.fileno())
        findings = look_at(scratch)
        if not findings.problems:
            (scratch / LOCK).unlink(missing_ok=True)
            if folder.exists():
                folder.rename(kept_as)
            scratch.rename(folder)
            _sync(folder.parent)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return findings


def _look_inside(env: lmdb.Environment, findings: Findings) -> None:
    by_records: Counter[str] = Counter()
    by_sums: Counter[str] = Counter()
    by_balance: dict[str, int] = {}

    def record(key: bytes, value: bytes) -> None:
        ended: Ended = decode_ended(key, value)
        by_records[ended.held.day] += ended.cost_nanousd

    def account(key: bytes, value: bytes) -> None:
        name, sums = Sums.decode(unseal(key, value))
        by_sums[name.day] += sums.cost_nanousd

    def balance(key: bytes, value: bytes) -> None:
        of, settled_nanousd = decode_balance(key, value)
        if of.budget == "node/day":
            by_balance[of.span] = settled_nanousd

    readers: dict[bytes, Callable[[bytes, bytes], Any]] = {
        META: _note,
        OPEN: decode_held,
        UNKNOWN: decode_ended,
        BALANCES: balance,
        RECORDS: record,
        ASKERS: decode_asker,
        SUMS: account,
        ROWS: lambda key, value: UsageRow.decode(unseal(key, value)),
        MARKS: lambda key, value: decode_alert(orjson.loads(unseal(key, value))[1].encode()),
    }
    counts = {name: _read_all(env, name, read, findings) for name, read in readers.items()}
    findings.records, findings.open = counts[RECORDS], counts[OPEN]
    findings.unknown = counts[UNKNOWN]
    findings.settled_by_day = Counter(by_balance)
    if findings.problems:
        return
    for day, settled in sorted(by_balance.items()):
        for what, said in (("records", by_records[day]), ("accounts", by_sums[day])):
            if said != settled:
                findings.add(f"{day}: the {what} come to {said} nano-dollars, not to {settled}")


def _read_all(
    env: lmdb.Environment,
    name: bytes,
    read: Callable[[bytes, bytes], Any],
    findings: Findings,
) -> int:
    count = 0
    try:
        database = env.open_db(name, create=False)
        with env.begin() as txn, txn.cursor(db=database) as cursor:
            for key, value in cursor:
                read(key, value)
                count += 1
    except lmdb.NotFoundError:
        if name != ASKERS:  # which a ledger has not that was written before there were any
            findings.add(f"there is no {name.decode()}")
    except (Damaged, ValueError, TypeError, KeyError) as error:
        findings.add(f"{name.decode()}, entry {count + 1}: {error}")
    return count


def _note(key: bytes, value: bytes) -> None:
    """Read a small note. Raises ``ValueError`` for a format that this version cannot read."""
    note = orjson.loads(unseal(key, value))
    if key == b"format" and note["format"] > FORMAT:
        raise ValueError(f"it is of format {note['format']}, written by a newer sutlerd")


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
