"""A real ledger file behind a seam where storage errors can be put in."""

from __future__ import annotations

import threading
from pathlib import Path
from types import TracebackType
from typing import Any

import lmdb

from sutlerd.ledger.place import Opened, open_ledger


class LedgerFaults:
    """``error`` meets the commit after ``passing`` more; a closed ``gate`` is a disk that
    hangs. ``map_bytes`` is the map to begin with."""

    def __init__(self, *, map_bytes: int | None = None) -> None:
        self.error: Exception | None = None
        self.passing = 0
        self.gate = threading.Event()
        self.gate.set()
        self._map_bytes = map_bytes

    def open(self, folder: Path) -> Opened:
        """Be an ``Opener``."""
        opened = open_ledger(folder)
        if self._map_bytes is not None:
            opened.env.set_mapsize(self._map_bytes)
        opened.env = _Environment(opened.env, self)  # type: ignore[assignment]
        return opened

    def meets_commit(self) -> Exception | None:
        assert self.gate.wait(30)
        if self.error is None:
            return None
        self.passing -= 1
        return self.error if self.passing < 0 else None


def eio() -> lmdb.Error:
    """What LMDB raises when a write or an fsync fails."""
    return lmdb.Error("mdb_txn_commit", 5)


class _Environment:
    def __init__(self, env: lmdb.Environment, faults: LedgerFaults) -> None:
        self._env = env
        self._faults = faults

    def begin(self, *, write: bool = False) -> Any:
        txn = self._env.begin(write=write)
        return _Transaction(txn, self._faults) if write else txn

    def __getattr__(self, name: str) -> Any:
        return getattr(self._env, name)


class _Transaction:
    def __init__(self, txn: Any, faults: LedgerFaults) -> None:
        self._txn = txn
        self._faults = faults

    def __enter__(self) -> Any:
        return self._txn

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        failure = self._faults.meets_commit() if kind is None else None
        if failure is not None:
            self._txn.abort()
            raise failure
        self._txn.__exit__(kind, error, trace)
