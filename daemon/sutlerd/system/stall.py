"""Notice when the event loop does not turn, and say where it hangs.

The loop beats four times a second; a thread of its own looks at the beats. A pause of the
whole process (SIGSTOP, a suspended machine) is no stall: the thread has then not run either
and no processor time was used.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable

from sutlerd.domain.record import record

BEAT_S = 0.25
STALL_S = 1.0


@record
class Stall:
    """One stall, reported once. ``stack`` is the loop's, empty when it was over before."""

    silent_s: float
    stack: str


class Judge:
    """Tells stalls from beats and looks, all times on the monotonic clock. Pure.

    ``longest_s`` is the longest time that the loop was late, ``late_s`` the last one, and
    ``count`` the number of stalls.
    """

    def __init__(self, *, now_s: float, cpu_s: float, beat_s: float, stall_s: float) -> None:
        self._beat_s = beat_s
        self._stall_s = stall_s
        self._last_beat_s = now_s
        self._last_look_s = now_s
        self._last_cpu_s = cpu_s
        self._reported_beat_s: float | None = None
        self._long_gaps: deque[tuple[float, float]] = deque(maxlen=16)
        self._pauses: deque[tuple[float, float]] = deque(maxlen=16)
        self.longest_s = 0.0
        self.count = 0
        self.late_s = 0.0

    def beat(self, now_s: float) -> None:
        """The loop has turned."""
        self.late_s = max(0.0, now_s - self._last_beat_s - self._beat_s)
        if now_s - self._last_beat_s >= self._stall_s / 2:
            # Whether the process was paused in between, only the next look can tell.
            self._long_gaps.append((self._last_beat_s, now_s))
        else:
            self._note(now_s - self._last_beat_s)
        self._last_beat_s = now_s

    def look(self, now_s: float, cpu_s: float) -> tuple[float, bool] | None:
        """Give (seconds of silence, whether it is over) of a stall not yet reported.

        ``cpu_s`` is the processor time the whole process has used.
        """
        own_gap_s = now_s - self._last_look_s
        if own_gap_s >= self._stall_s / 2 and cpu_s - self._last_cpu_s < own_gap_s / 10:
            self._pauses.append((self._last_look_s, now_s))
        self._last_look_s = now_s
        self._last_cpu_s = cpu_s
        found = None
        while self._long_gaps:
            start_s, end_s = self._long_gaps.popleft()
            silent_s = self._awake_s(start_s, end_s)
            self._note(silent_s)
            if silent_s >= self._stall_s and self._is_new(start_s):
                found = (silent_s, True)
        silent_s = self._awake_s(self._last_beat_s, now_s)
        self._note(silent_s)
        if silent_s >= self._stall_s and self._is_new(self._last_beat_s):
            found = (silent_s, False)
        return found

    def _note(self, silent_s: float) -> None:
        self.longest_s = max(self.longest_s, silent_s - self._beat_s)

    def _is_new(self, beat_s: float) -> bool:
        if self._reported_beat_s == beat_s:
            return False
        self._reported_beat_s = beat_s
        self.count += 1
        return True

    def _awake_s(self, start_s: float, end_s: float) -> float:
        paused_s = sum(
            max(0.0, min(end_s, pause_end_s) - max(start_s, pause_start_s))
            for pause_start_s, pause_end_s in self._pauses
        )
        return end_s - start_s - paused_s


class StallWatcher:
    """Watches one loop from a thread. ``report`` is called on that thread and must not raise."""

    def __init__(
        self,
        report: Callable[[Stall], None],
        *,
        beat_s: float = BEAT_S,
        stall_s: float = STALL_S,
    ) -> None:
        self._report = report
        self._beat_s = beat_s
        self._stall_s = stall_s
        self._judge = self._new_judge()
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._loop_thread_id = 0
        self._thread = threading.Thread(target=self._watch, name="stall-watch", daemon=True)
        self._timer: asyncio.TimerHandle | None = None

    @property
    def count(self) -> int:
        return self._judge.count

    @property
    def longest_s(self) -> float:
        """The longest time so far that the loop was late."""
        return self._judge.longest_s

    @property
    def late_s(self) -> float:
        """How late the loop came to its last beat."""
        return self._judge.late_s

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin; to be called once, on the loop's thread, while it runs."""
        self._loop_thread_id = threading.get_ident()
        self._judge = self._new_judge()  # what came before the start is no stall
        self._beat(loop)
        self._thread.start()

    def stop(self) -> None:
        """End the beats and the thread; to be called on the loop's thread."""
        if self._timer is not None:
            self._timer.cancel()
        self._stopped.set()
        self._thread.join()

    def _new_judge(self) -> Judge:
        return Judge(
            now_s=time.monotonic(),
            cpu_s=time.process_time(),
            beat_s=self._beat_s,
            stall_s=self._stall_s,
        )

    def _beat(self, loop: asyncio.AbstractEventLoop) -> None:
        with self._lock:
            self._judge.beat(time.monotonic())
        self._timer = loop.call_later(self._beat_s, self._beat, loop)

    def _watch(self) -> None:
        while not self._stopped.wait(self._beat_s):
            with self._lock:
                found = self._judge.look(time.monotonic(), time.process_time())
            if found is not None:
                silent_s, is_over = found
                self._report(Stall(silent_s=silent_s, stack="" if is_over else self._stack()))

    def _stack(self) -> str:
        frame = sys._current_frames().get(self._loop_thread_id)
        return "" if frame is None else "".join(traceback.format_stack(frame))
