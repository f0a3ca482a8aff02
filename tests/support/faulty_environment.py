"""A real LMDB environment behind a seam where storage errors can be put in."""

from __future__ import annotations

import threading
from pathlib import Path
from types import TracebackType
from typing import Any

import lmdb

from sutlerd.cache.lmdb_place import Opened, open_place


class Faults:
    """What goes wrong from now on; ``None`` or an open gate: nothing."""

    def __init__(self) -> None:
        self.reading: Exception | None = None
        self.beginning: Exception | None = None
        self.committing: Exception | None = None
        self.opening: Exception | None = None
        #: While closed, whoever opens or begins to write waits, as on a disk that hangs.
        self.gate = threading.Event()
        self.gate.set()

    def open(self, folder: Path, map_bytes: int, discard: str | None) -> Opened:
        """Be an ``Opener``."""
        assert self.gate.wait(30)
        if self.opening is not None:
            raise self.opening
        opened = open_place(folder, map_bytes, discard)
        opened.env = _Environment(opened.env, self)  # type: ignore[assignment]
        return opened


class _Environment:
    def __init__(self, env: lmdb.Environment, faults: Faults) -> None:
        self._env = env
        self._faults = faults

    def begin(self, db: Any = None, *, write: bool = False) -> Any:
        if not write:
            if self._faults.reading is not None:
                raise self._faults.reading
            return self._env.begin(db)
        assert self._faults.gate.wait(30)
        if self._faults.beginning is not None:
            raise self._faults.beginning
        return _Transaction(self._env.begin(write=True), self._faults)

    def close(self) -> None:
        self._env.close()


class _Transaction:
    def __init__(self, txn: Any, faults: Faults) -> None:
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
        if kind is None and self._faults.committing is not None:
            self._txn.abort()
            raise self._faults.committing
        self._txn.__exit__(kind, error, trace)
