"""A recording that is being played: answers from the file alone.

No provider, no cache, no time to live. The whole file is read once at the start, and again only
where a reply stands.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from sutlerd.domain.errors import CacheMiss
from sutlerd.domain.ports import EventLog
from sutlerd.pipeline.occurrences import Place, Remembered, Replies
from sutlerd.pipeline.question import Question
from sutlerd.pipeline.recording import is_first_line, nearest_said, read_line
from sutlerd.system.exits import CannotStart, Exit

MAX_LINE_BYTES: Final = 64 * 1024 * 1024
#: What a miss is compared with.
MAX_COMPARED: Final = 2000
MAX_COMPARED_BYTES: Final = 64 * 1024 * 1024


class Player:
    """Answers from a recording. Raises ``CannotStart`` for a file that is none."""

    def __init__(self, path: Path, *, log: EventLog) -> None:
        self._path = path
        self._log = log
        self._replies: dict[bytes, Replies] = {}
        self._compared: list[dict[str, Any]] = []
        self._compared_bytes = 0
        self._ids: Remembered[Place] = Remembered()
        try:
            self._file = path.open("rb")
        except OSError as error:
            raise CannotStart(Exit.CANNOT_CREATE, f"--replay {path}: {error.strerror}") from None
        try:
            self._index()
        except BaseException as error:
            self._file.close()
            if not isinstance(error, OSError):
                raise
            raise CannotStart(Exit.CANNOT_CREATE, f"--replay {path}: {error.strerror}") from None
        log.event("info", "replaying", file=str(path), requests=len(self._replies))

    def play(self, question: Question) -> bytes:
        """Give the next reply to this question; the same again to one sent again under its id.

        Raises ``CacheMiss`` that names the nearest request of the recording.
        """
        known = self._ids.known(question)
        if known is not None:
            return self._read(known)
        replies = self._recorded(question.asked, question.key)
        place = replies.take(question.voice)
        if place is None:
            times = len(replies.places)
            raise CacheMiss(
                f"this request was recorded {times} time{'s' * (times != 1)}, and is asked once "
                "more; a replay is for one run: start sutlerd anew for another"
            )
        return self._read(self._ids.note(question, place))

    def play_any(self, question: Question) -> bytes:
        """Give the first reply to a question that has the same one each time."""
        return self._read(self._recorded(question.asked, question.key).places[0])

    def close(self) -> None:
        self._file.close()

    def _recorded(self, asked: Mapping[str, Any], key: bytes) -> Replies:
        replies = self._replies.get(key)
        if replies is None:
            raise CacheMiss(f"this request was not recorded; {nearest_said(asked, self._compared)}")
        return replies

    def _read(self, place: Place) -> bytes:
        try:
            self._file.seek(place.offset)
            return read_line(self._file.read(place.size_bytes)).reply
        except (OSError, ValueError):
            said = f"{self._path}: was changed while it is played: start sutlerd anew"
            self._log.event("error", "recording", said=said)
            raise CacheMiss("the recording was changed while it is played") from None

    def _index(self) -> None:
        places: dict[bytes, list[Place]] = {}
        offset = 0
        for number, line in enumerate(iter(lambda: self._file.readline(MAX_LINE_BYTES), b""), 1):
            if number == 1:
                if not is_first_line(line):
                    raise CannotStart(
                        Exit.USAGE, f"--replay {self._path}: is no recording of sutlerd"
                    )
            elif not line.endswith(b"\n"):
                said = f"{self._path}:{number}: cut off, left out"
                self._log.event("warning", "recording", said=said)
            else:
                self._enter(line, offset, places, f"--replay {self._path}:{number}")
            offset += len(line)
        if not offset:
            raise CannotStart(Exit.USAGE, f"--replay {self._path}: is empty")
        for key in list(places):
            known = places.pop(key)
            if len({place.number for place in known}) < len(known):
                raise CannotStart(
                    Exit.USAGE,
                    f"--replay {self._path}: is broken: two replies have one request and number",
                )
            self._replies[key] = Replies(known)

    def _enter(
        self, line: bytes, offset: int, places: dict[bytes, list[Place]], where: str
    ) -> None:
        try:
            kept = read_line(line)
        except ValueError:
            raise CannotStart(Exit.USAGE, f"{where}: is broken") from None
        known = places.setdefault(kept.key, [])
        if not known and len(self._compared) < MAX_COMPARED:
            self._compared_bytes += len(line)
            if self._compared_bytes <= MAX_COMPARED_BYTES:
                self._compared.append(kept.asked)
        known.append(
            Place(number=kept.number, voice=kept.voice, offset=offset, size_bytes=len(line))
        )
