"""A recording being made, or being played: the shells around the file.

A recorder writes on a thread of its own, and a reply waits for nothing. A player answers from
the file alone: no provider, no cache, no time to live.
"""

from __future__ import annotations

import os
import queue
import threading
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import orjson

from sutlerd.domain.errors import CacheMiss
from sutlerd.domain.ports import Clock, EventLog
from sutlerd.domain.record import record
from sutlerd.pipeline.recording import first_line, is_first_line, key_of, nearest, reply_line
from sutlerd.system.exits import CannotStart, Exit

MAX_LINE_BYTES: Final = 64 * 1024 * 1024
#: What waits for the disk at most.
MAX_WAITING_BYTES: Final = 256 * 1024 * 1024
#: Requests that a miss is compared with, and requests by id that are known to be one.
MAX_COMPARED: Final = 2000
MAX_IDS: Final = 100_000


class Recorder:
    """Writes every reply to a new file. Raises ``CannotStart`` if it cannot be made."""

    def __init__(self, path: Path, *, version: str, clock: Clock, log: EventLog) -> None:
        self._path = path
        self._log = log
        self._counts: Counter[str] = Counter()
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

    def keep(self, asked: Mapping[str, Any], reply: bytes) -> None:
        """Record that this request was given this reply."""
        if self._is_broken:
            return  # what follows a gap would be another run
        key = key_of(asked)
        line = reply_line(asked, self._counts[key], reply)
        self._given_bytes += len(line)
        if self._given_bytes - self._taken_bytes > MAX_WAITING_BYTES:
            self._break("the disk does not keep up")
            return
        self._lines.put(line)
        self._counts[key] += 1

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


class Player:
    """Answers from a recording. Raises ``CannotStart`` for a file that is none."""

    def __init__(self, path: Path, *, log: EventLog) -> None:
        self._places: dict[str, list[tuple[int, int]]] = {}
        self._compared: list[dict[str, Any]] = []
        self._counts: Counter[str] = Counter()
        self._numbers: dict[tuple[int, str], tuple[str, int]] = {}
        try:
            self._file = path.open("rb")
            self._index(path, log)
        except OSError as error:
            raise CannotStart(Exit.CANNOT_CREATE, f"--replay {path}: {error.strerror}") from None
        log.event("info", "replaying", file=str(path), requests=len(self._places))

    def play(self, asked: Mapping[str, Any], *, uid: int, request_id: str | None) -> bytes:
        """Give the next reply to this request; the same again to one sent again under its id.

        Raises ``CacheMiss`` that names the nearest request of the recording.
        """
        key = key_of(asked)
        known = self._numbers.get((uid, request_id)) if request_id is not None else None
        if known is not None and known[0] == key:
            number = known[1]
        else:
            number = self._counts[key]
            self._counts[key] += 1
            if request_id is not None:
                self._remember((uid, request_id), (key, number))
        places = self._places.get(key)
        if places is None:
            raise CacheMiss(f"this request was not recorded; {nearest(asked, self._compared)}")
        if number >= len(places):
            raise CacheMiss(
                f"this request was recorded {len(places)} times, and is asked once more"
            )
        return self._reply(*places[number])

    def play_any(self, asked: Mapping[str, Any]) -> bytes:
        """Give the first reply to a request that has the same one each time."""
        places = self._places.get(key_of(asked))
        if places is None:
            raise CacheMiss(f"this request was not recorded; {nearest(asked, self._compared)}")
        return self._reply(*places[0])

    def close(self) -> None:
        self._file.close()

    def _remember(self, asked: tuple[int, str], place: tuple[str, int]) -> None:
        if len(self._numbers) >= MAX_IDS:
            del self._numbers[next(iter(self._numbers))]
        self._numbers[asked] = place

    def _reply(self, offset: int, length: int) -> bytes:
        self._file.seek(offset)
        return orjson.dumps(orjson.loads(self._file.read(length))["reply"])

    def _index(self, path: Path, log: EventLog) -> None:
        offset = 0
        for number, line in enumerate(iter(lambda: self._file.readline(MAX_LINE_BYTES), b""), 1):
            if number == 1:
                if not is_first_line(line):
                    raise CannotStart(Exit.USAGE, f"--replay {path}: is no recording of sutlerd")
            elif not line.endswith(b"\n"):
                log.event("warning", "recording", said=f"{path}:{number}: cut off, left out")
            else:
                self._enter(line, offset, f"--replay {path}:{number}")
            offset += len(line)

    def _enter(self, line: bytes, offset: int, where: str) -> None:
        try:
            entry = orjson.loads(line)
            key, place = entry["key"], entry["n"]
            places = self._places.setdefault(key, [])
            if place != len(places) or key_of(entry["asked"]) != key:
                raise ValueError("not in its place")
            if not places and len(self._compared) < MAX_COMPARED:
                self._compared.append(entry["asked"])
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
            raise CannotStart(Exit.USAGE, f"{where}: is broken") from None
        places.append((offset, len(line)))


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
