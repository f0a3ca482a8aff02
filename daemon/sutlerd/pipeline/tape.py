"""A recording that is being made: the shell around the file.

It is written on a thread of its own, and a reply waits for nothing.
"""

from __future__ import annotations

import os
import queue
import threading
from pathlib import Path
from typing import Final

from sutlerd.domain.ports import Clock, EventLog
from sutlerd.domain.record import record
from sutlerd.pipeline.occurrences import Asking, Askings
from sutlerd.pipeline.player import Player
from sutlerd.pipeline.question import Question
from sutlerd.pipeline.recording import first_line, reply_line
from sutlerd.system.exits import CannotStart, Exit

#: What waits for the disk at most.
MAX_WAITING_BYTES: Final = 256 * 1024 * 1024


class Recorder:
    """Writes every reply to a new file. Raises ``CannotStart`` if it cannot be made."""

    def __init__(self, path: Path, *, version: str, clock: Clock, log: EventLog) -> None:
        self._path = path
        self._log = log
        self._askings = Askings()
        self._lines: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._is_broken = False
        # Each is counted by one thread only.
        self._given_bytes = 0
        self._taken_bytes = 0
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            self._file = open(os.open(path, flags, 0o600), "wb")  # noqa: SIM115
        except FileExistsError:
            raise CannotStart(
                Exit.CANNOT_CREATE, f"--record {path}: is there already; name a new file"
            ) from None
        except OSError as error:
            raise CannotStart(Exit.CANNOT_CREATE, f"--record {path}: {error.strerror}") from None
        self._lines.put(first_line(version=version, unix_s=clock.unix_s()))
        self._thread = threading.Thread(target=self._write, name="recorder", daemon=True)
        self._thread.start()

    def begin(self, question: Question) -> Asking:
        """Number a question when it comes, before anything is done for it."""
        return self._askings.of(question)

    def keep(self, question: Question, asking: Asking, reply: bytes) -> None:
        """Record that this asking was given this reply; the first one, if it is asked again."""
        if self._is_broken or asking.is_kept:
            return  # what follows a gap would be another run
        line = reply_line(question, asking.number, reply)
        self._given_bytes += len(line)
        if self._given_bytes - self._taken_bytes > MAX_WAITING_BYTES:
            self._break("the disk does not keep up")
            return
        self._lines.put(line)
        asking.is_kept = True

    def close(self) -> None:
        """Write what is left, to the disk."""
        self._lines.put(None)
        self._thread.join()

    def _write(self) -> None:
        failed = False
        while (line := self._lines.get()) is not None:
            self._taken_bytes += len(line)
            if failed:
                continue
            try:
                self._file.write(line)
                if self._lines.empty():
                    self._file.flush()
            except OSError as error:
                failed = True
                self._break(error.strerror or str(error))
        try:
            if not failed:
                self._file.flush()
                os.fsync(self._file.fileno())
            self._file.close()
        except OSError as error:
            self._break(error.strerror or str(error))

    def _break(self, why: str) -> None:
        if not self._is_broken:
            self._is_broken = True
            said = f"{self._path}: {why}: the recording is not whole, make it again"
            self._log.event("error", "recording", said=said)


Tape = Recorder | Player


@record
class Taped:
    """The file to record into, or to replay; at most one of them."""

    into: Path | None = None
    out_of: Path | None = None


NOT_TAPED: Final = Taped()


def open_tape(taped: Taped, *, version: str, clock: Clock, log: EventLog) -> Tape | None:
    """Begin to record or to replay, if so told. Raises ``CannotStart``."""
    if taped.into is not None:
        return Recorder(taped.into, version=version, clock=clock, log=log)
    return None if taped.out_of is None else Player(taped.out_of, log=log)
