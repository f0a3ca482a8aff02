"""The keyboard and the signals of a screen that stays: one place to wait for all of them.

No signal interrupts anything: it is noted, and wakes who waits. So a screen is never left
half drawn, and the terminal is always put back as it was.
"""

from __future__ import annotations

import os
import select
import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, Optional, TextIO, Union

    from sutler.top_plain import PlacePainter, ScrollPainter
    from sutler.top_rich import RichPainter

_LEAVE = (b"q", b"Q", b"\x03", b"\x04")
_NOTED = ("SIGINT", "SIGTERM", "SIGHUP", "SIGWINCH", "SIGTSTP", "SIGCONT")


class Keys:
    """A context manager. ``ended_by`` is the signal that asked for the end, if one did."""

    def __init__(self, stdin: Optional[TextIO], *, keyboard: bool) -> None:
        self._fd = _terminal(stdin) if keyboard else None
        self._before: Optional[List[Any]] = None
        self._handlers: Dict[int, Any] = {}
        self._suspend = False
        self.ended_by: Optional[int] = None
        self.quit = False
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)
        os.set_blocking(self._write, False)

    def __enter__(self) -> Keys:
        for name in _NOTED:
            number = getattr(signal, name)
            self._handlers[number] = signal.signal(number, self._note)
        self._woken_before = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        self._listen()
        return self

    def __exit__(self, *_: object) -> None:
        self._deafen()
        signal.set_wakeup_fd(self._woken_before)
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def wake(self) -> None:
        """End a wait, from any thread."""
        try:
            os.write(self._write, b"\0")
        except OSError:
            pass  # it is full, and so a reason to wake up is there, or all is over

    def wait(self, within_s: float) -> None:
        """Return when a key, a signal or a `wake` came, or after ``within_s``."""
        if self.quit or self.ended_by is not None or self._suspend:
            return
        watched = [self._read] if self._fd is None else [self._read, self._fd]
        ready, _, _ = select.select(watched, [], [], within_s)
        if self._read in ready:
            os.read(self._read, 4096)
        if self._fd is not None and self._fd in ready:
            self._take(self._fd)

    def suspend(self, painter: Union[ScrollPainter, PlacePainter, RichPainter]) -> None:
        """Stop, where Ctrl-Z asked for it, with the terminal as the shell wants it."""
        if not self._suspend:
            return
        self._suspend = False
        painter.leave()
        self._deafen()
        os.kill(os.getpid(), signal.SIGSTOP)
        self._listen()
        painter.enter()

    def _note(self, number: int, frame: Any) -> None:
        if number == signal.SIGTSTP:
            self._suspend = True
        elif number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if self.ended_by is not None:
                raise KeyboardInterrupt  # it was asked for before, and something is stuck
            self.ended_by = number

    def _take(self, fd: int) -> None:
        try:
            typed = os.read(fd, 1024)
        except OSError:
            typed = b""
        if not typed or any(key in typed for key in _LEAVE):
            self.quit = True  # nobody can type any more, or wants to leave

    def _listen(self) -> None:
        """Have keys come one by one, and not be shown."""
        if self._fd is None:
            return
        import termios

        try:
            self._before = termios.tcgetattr(self._fd)
            changed = termios.tcgetattr(self._fd)
            changed[3] &= ~(termios.ICANON | termios.ECHO)
            termios.tcsetattr(self._fd, termios.TCSANOW, changed)
        except termios.error:
            self._fd = self._before = None

    def _deafen(self) -> None:
        if self._fd is None or self._before is None:
            return
        import termios

        try:
            termios.tcsetattr(self._fd, termios.TCSANOW, self._before)
        except termios.error:
            pass  # the terminal is gone, and its settings with it


def _terminal(stdin: Optional[TextIO]) -> Optional[int]:
    try:
        if stdin is not None and stdin.isatty():
            return stdin.fileno()
    except (ValueError, OSError):
        pass  # closed, or nothing real
    return None
