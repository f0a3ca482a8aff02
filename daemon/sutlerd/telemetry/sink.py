"""Lines to a descriptor through a bounded queue and one thread: never blocks, never raises.

What cannot be written (full disk, reader gone, closed descriptor) or does not fit the queue
(a pipe that nobody reads) is dropped and counted, and the count is told as soon as writing
works again. Nothing here knows what a line says.
"""

from __future__ import annotations

import os
import select
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol, TextIO

from sutlerd.telemetry.journal import Entrance

MAX_LINES: Final = 10_000
MAX_BYTES: Final = 4 * 1024 * 1024
BATCH_BYTES: Final = 64 * 1024
TICK_S: Final = 1.0
STDERR: Final = 2


class Sink:
    """``out`` is a descriptor, a text stream, or the journal's entrance. The thread begins with
    the first line.

    ``told(n)`` gives the line that tells of ``n`` dropped ones; ``ticked()`` gives lines to
    add, and is called about a second after ``arm``.
    """

    def __init__(
        self,
        out: int | TextIO | Entrance,
        *,
        told: Callable[[int], str],
        ticked: Callable[[], list[str]],
        max_lines: int = MAX_LINES,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        self._out = out
        self._told = told
        self._ticked = ticked
        self._max_lines = max_lines
        self._max_bytes = max_bytes
        # Re-entrant: a signal handler may log while this very thread holds it.
        self._changed = threading.Condition(threading.RLock())
        self._queue: deque[bytes] = deque()
        self._queued_bytes = 0
        self._in_hand = 0
        self._dropped = 0
        self._untold = 0
        self._tick_at_s: float | None = None
        self._closing = False
        self._thread: threading.Thread | None = None

    @property
    def dropped(self) -> int:
        """Count the lines lost so far."""
        return self._dropped

    def put(self, line: str) -> None:
        encoded = line.encode("utf-8", "backslashreplace") + b"\n"
        with self._changed:
            full = (
                len(self._queue) >= self._max_lines
                or self._queued_bytes + len(encoded) > self._max_bytes
            )
            if full or self._closing:
                self._drop(1)
                return
            self._queue.append(encoded)
            self._queued_bytes += len(encoded)
            self._started()
            self._changed.notify_all()

    def arm(self) -> None:
        """Have ``ticked`` called in about a second, unless that is under way already."""
        with self._changed:
            if self._tick_at_s is None and not self._closing:
                self._tick_at_s = time.monotonic() + TICK_S
                self._started()
                self._changed.notify_all()

    def flush(self, timeout_s: float) -> bool:
        """Wait until all lines so far are written or dropped; False if that takes longer."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._queue and not self._in_hand, timeout_s)

    def close(self, timeout_s: float) -> int:
        """Write what is left for at most so long; give how many lines were lost in all."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(timeout_s)
        with self._changed:
            return self._dropped + len(self._queue) + self._in_hand

    def _drop(self, lines: int) -> None:
        self._dropped += lines
        self._untold += lines

    def _started(self) -> None:
        if self._thread is not None:
            return
        writer = _writer(self._out)
        thread = threading.Thread(target=self._run, args=(writer,), name="log", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            # No thread to be had: the next line tries again, the queue's bound holds.
            writer.close()
        else:
            self._thread = thread

    def _run(self, writer: _Writer) -> None:
        try:
            while self._one_round(writer):
                pass
        finally:
            writer.close()

    def _one_round(self, writer: _Writer) -> bool:
        """Wait for work and do it; False at the end."""
        with self._changed:
            self._changed.wait_for(self._has_work, self._patience_s())
            tick = self._tick_at_s is not None and (
                self._closing or time.monotonic() >= self._tick_at_s
            )
            if tick:
                self._tick_at_s = None
            batch = self._take()
        if tick:
            for line in self._ticked():
                batch.append(line.encode("utf-8", "backslashreplace") + b"\n")
        self._write(writer, batch)
        with self._changed:
            self._in_hand = 0
            self._changed.notify_all()
            return bool(self._queue or self._tick_at_s is not None or not self._closing)

    def _has_work(self) -> bool:
        return bool(self._queue) or self._closing

    def _patience_s(self) -> float | None:
        if self._tick_at_s is None:
            return None
        return max(0.0, self._tick_at_s - time.monotonic())

    def _take(self) -> list[bytes]:
        batch: list[bytes] = []
        size_bytes = 0
        while self._queue and size_bytes < BATCH_BYTES:
            line = self._queue.popleft()
            size_bytes += len(line)
            batch.append(line)
        self._queued_bytes -= size_bytes
        self._in_hand = len(batch)
        return batch

    def _write(self, writer: _Writer, batch: list[bytes]) -> None:
        if not batch:
            return
        with self._changed:
            untold, self._untold = self._untold, 0
        first = [(self._told(untold) + "\n").encode()] if untold else []
        lost = writer.write(first + batch)
        if lost:
            with self._changed:
                self._drop(min(lost, len(batch)))
                if lost > len(batch):
                    self._untold += untold


class _Writer(Protocol):
    """The way out. ``write`` gives how many lines were lost, of the last ones; it may block, and
    never raises."""

    def write(self, lines: list[bytes], /) -> int: ...

    def close(self) -> None: ...


class _NoWriter:
    """No way out."""

    def write(self, lines: list[bytes]) -> int:
        return len(lines)

    def close(self) -> None:
        return None


class _DescriptorWriter:
    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._torn = False

    def write(self, lines: list[bytes]) -> int:
        data = b"".join(lines)
        # A line that broke off must not become the beginning of the next one.
        rest = memoryview(b"\n" + data if self._torn else data)
        while rest:
            try:
                written = os.write(self._descriptor, rest)
            except BlockingIOError:
                # Somebody else made this terminal or pipe non-blocking.
                poll = select.poll()
                poll.register(self._descriptor, select.POLLOUT)
                poll.poll(1000)
            except OSError:
                return len(lines)
            else:
                rest = rest[written:]
                self._torn = bool(rest)
        return 0

    def close(self) -> None:
        os.close(self._descriptor)


class _StreamWriter:
    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, lines: list[bytes]) -> int:
        try:
            self._stream.write(b"".join(lines).decode())
            self._stream.flush()
        except (OSError, ValueError):
            return len(lines)
        return 0

    def close(self) -> None:
        return None


def _writer(out: int | TextIO | Entrance) -> _Writer:
    """Open the way out. A descriptor is duplicated: its number may get another meaning."""
    if isinstance(out, Entrance):
        return out
    if not isinstance(out, int):
        return _StreamWriter(out)
    if out == STDERR and sys.__stderr__ is None:
        # It was closed when the process began: by now number 2 may be anybody's file.
        return _NoWriter()
    try:
        return _DescriptorWriter(os.dup(out))
    except OSError:
        return _NoWriter()
