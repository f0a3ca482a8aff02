"""Run the `sutler` command as people and programs do: in a process, on pipes or a terminal."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import termios
import time
from collections.abc import Mapping
from pathlib import Path

CLIENT = Path(__file__).parents[3] / "client_lib"
LIMIT_S = 45.0


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Give a child's environment: the sources of this checkout, no socket, no colours chosen."""
    kept = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "TERM")}
    kept["PYTHONPATH"] = os.pathsep.join([str(CLIENT), os.environ.get("PYTHONPATH", "")])
    kept["TERM"] = "xterm"
    return {**kept, **(extra or {})}


def sutler(
    *words: str,
    stdin: bytes | None = b"",
    env: Mapping[str, str] | None = None,
    python: str = sys.executable,
) -> subprocess.CompletedProcess[bytes]:
    """Run a command to its end on pipes."""
    return subprocess.run(
        [python, "-m", "sutler", *words],
        input=stdin,
        capture_output=True,
        timeout=LIMIT_S,
        env=environment(env),
        check=False,
    )


def started(
    *words: str, env: Mapping[str, str] | None = None, **how: int
) -> subprocess.Popen[bytes]:
    """Begin a command on pipes; the test ends it."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    pipes.update(how)
    return subprocess.Popen(
        [sys.executable, "-m", "sutler", *words],
        env=environment(env),
        stdin=pipes["stdin"],
        stdout=pipes["stdout"],
        stderr=pipes["stderr"],
    )


class AtTerminal:
    """A command whose standard streams are a terminal; ``screen`` is what it showed so far.

    ``size`` are columns and rows; without it the terminal does not say.
    """

    def __init__(
        self,
        *words: str,
        env: Mapping[str, str] | None = None,
        size: tuple[int, int] | None = None,
        python: str = sys.executable,
    ) -> None:
        self._master, slave = pty.openpty()
        if size is not None:
            self.resize(*size)
        self.screen = b""
        # A session of its own with this terminal, so that Ctrl-C typed there reaches it.
        self.process = subprocess.Popen(
            [python, "-c", _CONTROLLED, *words],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=environment(env),
            start_new_session=True,
        )
        os.close(slave)

    def type(self, keys: bytes) -> None:
        os.write(self._master, keys)

    def resize(self, columns: int, rows: int) -> None:
        termios.tcsetwinsize(self._master, (rows, columns))

    def settings(self) -> list[object]:
        """Give what the terminal is set to."""
        return termios.tcgetattr(self._master)

    def read_more(self) -> None:
        assert self._read(time.monotonic() + LIMIT_S), self.screen

    def read_until(self, text: bytes) -> None:
        end_s = time.monotonic() + LIMIT_S
        while text not in self.screen:
            assert self._read(end_s), self.screen

    def end(self) -> int:
        """Read to the end; give the exit code."""
        end_s = time.monotonic() + LIMIT_S
        while self._read(end_s):
            pass
        os.close(self._master)
        return self.process.wait(LIMIT_S)

    def _read(self, end_s: float) -> bool:
        ready, _, _ = select.select([self._master], [], [], max(0.0, end_s - time.monotonic()))
        assert ready, self.screen
        try:
            data = os.read(self._master, 65536)
        except OSError:  # how Linux says that nobody holds the terminal any more
            return False
        self.screen += data
        return bool(data)


_CONTROLLED = """
import fcntl, runpy, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
sys.argv[0] = "sutler"
runpy.run_module("sutler", run_name="__main__", alter_sys=True)
"""
