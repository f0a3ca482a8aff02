"""The real daemon as a process on a real socket, for tests of any level."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

READY_WITHIN_S = 30.0
STOPPED_WITHIN_S = 40.0


class DaemonProcess:
    """``sutlerd`` with its folders under ``folder``, which must be short: it holds the socket.

    ``config`` is the YAML text of its configuration; without it the daemon serves the embedded
    model. Entering waits until it answers; leaving ends it, by force if need be. ``prefix`` is a
    command that ends in running the one that follows it.
    """

    def __init__(
        self,
        folder: Path,
        *,
        config: str | None = None,
        arguments: Sequence[str] = (),
        environ: Mapping[str, str] | None = None,
        prefix: Sequence[str] = (),
    ) -> None:
        self.folder = folder
        self.socket = folder / "run" / "s.sock"
        self.log_path = folder / "sutlerd.log"
        self._config = config
        self._arguments = tuple(arguments)
        self._prefix = tuple(prefix)
        self._environ = {**os.environ, **(environ or {})}
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(STOPPED_WITHIN_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "not started"
        return self._process

    def log(self) -> str:
        return self.log_path.read_text() if self.log_path.exists() else ""

    def start(self) -> None:
        """Start it (again, after it ended) on the same folders; returns once it answers."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.socket.parent.mkdir(mode=0o700, exist_ok=True)
        self._process = self.launched()
        until_s = time.monotonic() + READY_WITHIN_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > until_s:
                self.kill()
                raise AssertionError(f"sutlerd did not start:\n{self.log()}")
            time.sleep(0.01)

    def launched(self) -> subprocess.Popen[bytes]:
        """Begin the process, its output in the log."""
        with self.log_path.open("ab") as sink:
            return subprocess.Popen(
                [*self._prefix, *self.command()],
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
                env=self._environ,
                cwd=self.folder,
            )

    def command(self) -> list[str]:
        """Give the command line; its configuration is written by this."""
        return [sys.executable, "-m", "sutlerd", *self._options(), *self._arguments]

    def stop(self) -> int:
        """Ask it to drain and give its exit status; negative if a signal ended it."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOPPED_WITHIN_S)

    def kill(self) -> None:
        """End it as a crash would: at once, with nothing written."""
        self.process.kill()
        self.process.wait()

    def ask(self, method: str, *, timeout_s: float = 60.0, **params: Any) -> dict[str, Any]:
        """Send one request on a connection of its own and give the whole reply object."""
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(timeout_s)
            sock.connect(str(self.socket))
            sock.sendall(json.dumps({"id": 1, "method": method, "params": params}).encode() + b"\n")
            with sock.makefile("rb") as lines:
                for line in lines:
                    reply: dict[str, Any] = json.loads(line)
                    if "id" in reply:
                        return reply
        raise AssertionError(f"no answer to {method}; the daemon's log:\n{self.log()}")

    def result(self, method: str, **params: Any) -> dict[str, Any]:
        """Ask, and give the result; an error fails the test."""
        reply = self.ask(method, **params)
        assert "error" not in reply, reply["error"]
        result: dict[str, Any] = reply["result"]
        return result

    def _options(self) -> list[str]:
        options = [
            f"--socket={self.socket}",
            f"--state-dir={self.folder / 'state'}",
            f"--cache-dir={self.folder / 'cache'}",
        ]
        if self._config is not None:
            path = self.folder / "sutler.yaml"
            path.write_text(self._config)
            options.append(f"--config={path}")
        return options

    def _answers(self) -> bool:
        try:
            return "result" in self.ask("ping", timeout_s=READY_WITHIN_S)
        except (OSError, AssertionError):
            return False
