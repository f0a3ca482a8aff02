"""One child process of the daemon: its start, its words, its end.

A child gets a clean environment, its settings as one line on standard input, and answers with
one line on standard output when it is ready or cannot be. Standard input stays open: its end
tells the child to end (see ``parent_watch``). What it writes to standard error is kept here,
the last of it only, and never mixed into the daemon's own.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Mapping
from typing import Self

from sutlerd.domain.record import record
from sutlerd.system.hardening import clean_environment

#: A child that was told to end and has not is killed after this.
STOP_GRACE_S = 1.0
_TAIL_LINES = 40
_TAIL_LINE_CHARS = 400
_FIRST_LINE_BYTES = 64 * 1024


@record
class ChildSpec:
    """How to start a child. ``settings`` is one line without its end, and may hold secrets;
    ``argv`` and ``environment`` are readable by others and must not.

    ``may_keep`` says which lines of standard error may be kept once the child serves: from
    then on it sees users' words.
    """

    argv: tuple[str, ...]
    environment: Mapping[str, str]
    settings: bytes
    may_keep: Callable[[str], bool]


def python_child(module: str) -> tuple[str, ...]:
    """Give the command that runs a module of ours under this interpreter."""
    return (sys.executable, "-P", "-s", "-m", module)


def python_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Give what of ``environ`` such a child may have, and where it finds our own modules."""
    places = [os.path.abspath(place) for place in sys.path if place]
    return {**clean_environment(environ), "PYTHONPATH": os.pathsep.join(places)}


class Child:
    """A process that was started. Whoever starts it calls ``stop`` in the end."""

    def __init__(self, process: asyncio.subprocess.Process, spec: ChildSpec) -> None:
        self._process = process
        self._spec = spec
        self._tail: deque[str] = deque(maxlen=_TAIL_LINES)
        self._serves = False
        self._listening = asyncio.ensure_future(self._listen())
        self._ended = asyncio.ensure_future(process.wait())

    @classmethod
    async def start(cls, spec: ChildSpec) -> Self:
        """Start it and hand it its settings. Raises OSError."""
        process = await asyncio.create_subprocess_exec(
            *spec.argv,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=dict(spec.environment),
            cwd="/",
            start_new_session=True,
            limit=_FIRST_LINE_BYTES,
        )
        assert process.stdin is not None
        process.stdin.write(spec.settings + b"\n")
        return cls(process, spec)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def ended(self) -> asyncio.Future[int]:
        """Done when the process has ended. Wait for it, never cancel it."""
        return self._ended

    async def first_line(self) -> bytes:
        """Give the child's answer to its settings, empty if it ended without one."""
        assert self._process.stdout is not None
        try:
            return await self._process.stdout.readuntil(b"\n")
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            return b""

    def serves_now(self) -> None:
        """From now on keep only what ``may_keep`` lets through."""
        self._serves = True

    def tail(self) -> list[str]:
        """Give the last lines of its standard error that may be kept, oldest first."""
        return list(self._tail)

    def how_it_ended(self) -> str:
        """Say how, for people: ``was killed by SIGSEGV``, ``ended with code 3``."""
        code = self._process.returncode
        if code is None:
            return "is running"
        if code >= 0:
            return f"ended with code {code}"
        try:
            return f"was killed by {signal.Signals(-code).name}"
        except ValueError:
            return f"was killed by signal {-code}"

    async def stop(self, *, grace_s: float = STOP_GRACE_S) -> None:
        """Tell it to end, kill it if it does not, and wait until it is gone."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        await asyncio.wait({self._ended}, timeout=grace_s)
        if not self._ended.done():
            self._process.kill()
            await asyncio.wait({self._ended})
        # Whoever else inherited its standard error could hold it open for ever.
        await asyncio.wait({self._listening}, timeout=STOP_GRACE_S)
        self._listening.cancel()

    async def _listen(self) -> None:
        assert self._process.stderr is not None
        rest = b""
        while data := await self._process.stderr.read(4096):
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                self._keep(line)
            rest = rest[:_TAIL_LINE_CHARS]
        self._keep(rest)

    def _keep(self, line: bytes) -> None:
        text = line[: 4 * _TAIL_LINE_CHARS].decode("utf-8", "replace")
        text = "".join(c if c.isprintable() else " " for c in text).strip()[:_TAIL_LINE_CHARS]
        if text and (not self._serves or self._spec.may_keep(text)):
            self._tail.append(text)
