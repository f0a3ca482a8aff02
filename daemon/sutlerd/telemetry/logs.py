"""The log: one event, one line or entry, for people or machines, with every secret masked.

Nothing that calls it ever waits or fails because of it. No prompt and no reply belongs in a
field, at any level; what callers send is only told in counts.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Final, Literal, TextIO

import orjson

from sutlerd.telemetry.journal import SOCKET, Entrance, entrance, entry
from sutlerd.telemetry.line import json_line, text_line, timestamp
from sutlerd.telemetry.redact import Redactor
from sutlerd.telemetry.sink import MAX_BYTES, MAX_LINES, STDERR, Sink

#: name -> (rank, syslog priority)
LEVELS: Final[Mapping[str, tuple[int, int]]] = {
    "debug": (10, 7),
    "info": (20, 6),
    "warning": (30, 4),
    "error": (40, 3),
}
MAX_SUM_KEYS: Final = 256


def is_journal(descriptor: int, environ: Mapping[str, str]) -> bool:
    """Whether a descriptor leads to systemd's journal, which reads ``<priority>`` prefixes."""
    try:
        facts = os.fstat(descriptor)
    except OSError:
        return False
    return environ.get("JOURNAL_STREAM") == f"{facts.st_dev}:{facts.st_ino}"


def priority_of(level: str) -> int:
    """Give syslog's priority of a level; another one counts as error."""
    return LEVELS.get(level, LEVELS["error"])[1]


def journal_of(
    descriptor: int, environ: Mapping[str, str], log_format: str, path: str = SOCKET
) -> Entrance | None:
    """Open the journal's own entrance if that is where a descriptor leads, and lines of JSON
    are not asked for."""
    wanted = log_format == "text" and is_journal(descriptor, environ)
    return entrance(path) if wanted else None


class Log:
    """Where events are told. Safe from any thread; needs no event loop.

    ``log_format`` is ``text`` or ``json``; ``journal`` puts syslog priorities before lines of
    text. Through the journal's entrance each event goes as an entry with its fields. Lines wait
    in a queue bounded by ``max_lines`` and ``max_bytes``.
    """

    def __init__(
        self,
        out: int | TextIO | Entrance = STDERR,
        *,
        level: str = "info",
        log_format: Literal["text", "json"] = "text",
        journal: bool = False,
        secrets: Iterable[str] = (),
        unix_s: Callable[[], float] = time.time,
        max_lines: int = MAX_LINES,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        self._rank = LEVELS[level][0]
        self._format = log_format
        self._as_entries = isinstance(out, Entrance)
        self._journal = journal and log_format == "text"
        self._values: tuple[str, ...] = tuple(secrets)
        self._redactor = Redactor(self._values)
        self._unix_s = unix_s
        self._sums: dict[str, dict[str, int]] = {}
        self._sums_lock = threading.RLock()
        self._sink = Sink(
            out,
            told=self._told,
            ticked=self._sum_lines,
            max_lines=max_lines,
            max_bytes=max_bytes,
        )

    @property
    def redactor(self) -> Redactor:
        """Give what masks the known secrets, for other text that leaves."""
        return self._redactor

    @property
    def dropped_lines(self) -> int:
        return self._sink.dropped

    def set_level(self, level: str) -> None:
        self._rank = LEVELS[level][0]

    def secrets(self, values: Iterable[str]) -> None:
        """Mask these, too, from now on. Old ones stay masked: they may still be in use."""
        self._values = tuple(dict.fromkeys((*self._values, *values)))
        self._redactor = Redactor(self._values)

    def event(self, level: str, name: str, /, **fields: object) -> None:
        """Tell one event. Levels: debug, info, warning, error; another one counts as error."""
        if LEVELS.get(level, LEVELS["error"])[0] >= self._rank:
            self._sink.put(self._line(level, name, fields))

    def tells(self, level: str) -> bool:
        return LEVELS[level][0] >= self._rank

    def sum(self, name: str, key: str = "", count: int = 1) -> None:
        """Count something too frequent for a line each; told once a second, at level info."""
        if LEVELS["info"][0] < self._rank:
            return
        with self._sums_lock:
            by_key = self._sums.setdefault(name, {})
            if key not in by_key and len(by_key) >= MAX_SUM_KEYS:
                key = "other"
            by_key[key] = by_key.get(key, 0) + count
        self._sink.arm()

    def flush(self, timeout_s: float = 1.0) -> bool:
        """Wait until what was told so far is out; False if it takes longer."""
        return self._sink.flush(timeout_s)

    def close(self, timeout_s: float = 1.0) -> int:
        """Write what is left for at most ``timeout_s``; give how many lines were ever lost."""
        return self._sink.close(timeout_s)

    def _line(self, level: str, name: str, fields: Mapping[str, object]) -> str:
        if self._as_entries:
            return entry(priority_of(level), name, fields, self._redactor.text)
        when = timestamp(self._unix_s())
        if self._format == "json":
            return self._masked_json(json_line(when, level, name, fields))
        line = self._redactor.text(text_line(when, level, name, fields))
        if self._journal:
            return f"<{priority_of(level)}>{line}"
        return line

    def _masked_json(self, line: str) -> str:
        masked = self._redactor.text(line)
        if masked == line:
            return line
        try:
            orjson.loads(masked)
        except orjson.JSONDecodeError:
            # A secret of digits stood where a number was: keep what is left as one text.
            return orjson.dumps({"event": "masked", "line": masked}).decode()
        return masked

    def _told(self, lines: int) -> str:
        return self._line("warning", "log_lines_dropped", {"lines": lines})

    def _sum_lines(self) -> list[str]:
        with self._sums_lock:
            sums, self._sums = self._sums, {}
        lines = []
        for name, by_key in sums.items():
            fields: dict[str, object] = {"count": sum(by_key.values())}
            if set(by_key) != {""}:
                fields["by"] = by_key
            lines.append(self._line("info", name, fields))
        return lines
