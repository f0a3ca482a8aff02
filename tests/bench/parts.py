"""What the benchmarks share: floors, load, and processes' own clocks.

A floor is the same bytes through the barest server that could carry them, in the same run on
the same machine. Figures are ratios to it; absolute numbers only say what the machine is.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import uvloop

TICKS_PER_S = os.sysconf("SC_CLK_TCK")

ECHO_SERVER = """
import asyncio, sys, uvloop
REPLY = b"y" * (int(sys.argv[2]) - 1) + b"\\n"
class Echo(asyncio.Protocol):
    def connection_made(self, transport): self.transport = transport
    def data_received(self, data): self.transport.write(REPLY * data.count(b"\\n"))
async def main():
    await asyncio.get_running_loop().create_unix_server(Echo, sys.argv[1], backlog=4096)
    print("ready", flush=True)
    await asyncio.Event().wait()
uvloop.run(main())
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table: what, ours, the floor, their ratio and what was promised."""

    what: str
    ours: str
    floor: str = ""
    ratio: float | None = None
    promised: str = ""


@dataclass
class Load:
    """What a load brought: seconds it took and each round trip's, in seconds."""

    took_s: float = 0.0
    trips_s: list[float] = field(default_factory=list)

    @property
    def per_s(self) -> float:
        return len(self.trips_s) / self.took_s

    def percentile_us(self, part: float) -> float:
        ordered = sorted(self.trips_s)
        return ordered[min(len(ordered) - 1, int(part * len(ordered)))] * 1e6


def cpu_s(pid: int) -> float:
    """Give the processor time a process has used, all threads, user and system."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


def resident_mib(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"no VmRSS of {pid}")


@contextlib.contextmanager
def script(source: str, *arguments: str) -> Iterator[tuple[int, list[str]]]:
    """Run a server whose first line is ``ready``; give its pid and that line's other words."""
    process = subprocess.Popen(
        [sys.executable, "-c", source, *arguments], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        first, *words = process.stdout.readline().split()
        assert first == "ready", first
        yield process.pid, words
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def echo_floor(folder: Path, reply_bytes: int) -> Iterator[tuple[Path, int]]:
    """Serve a bare uvloop Protocol that answers each line with as many bytes; give its pid."""
    path = folder / "echo.sock"
    with script(ECHO_SERVER, str(path), str(reply_bytes)) as (pid, _):
        yield path, pid


def blocking_trips(path: Path, line: Callable[[int], bytes], count: int) -> Load:
    """Ask ``count`` times on one blocking socket, one after the other."""
    load = Load()
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(path))
        for number in range(200):
            _ask(sock, line(number))
        started = time.perf_counter()
        for number in range(200, 200 + count):
            before = time.perf_counter()
            _ask(sock, line(number))
            load.trips_s.append(time.perf_counter() - before)
        load.took_s = time.perf_counter() - started
    return load


def _ask(sock: socket.socket, line: bytes) -> bytes:
    sock.sendall(line)
    reply = b""
    while not reply.endswith(b"\n"):
        reply += sock.recv(1 << 20)
    return reply


class _Asker(asyncio.Protocol):
    """Keeps one request under way until its share is done."""

    def __init__(self, line: Callable[[int], bytes], numbers: Iterator[int], load: Load) -> None:
        self._line = line
        self._numbers = numbers
        self._load = load
        self._sent_s = 0.0
        self._transport: asyncio.Transport
        self.done = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are of no asyncio class.
        self._transport = cast(asyncio.Transport, transport)

    def go(self) -> None:
        number = next(self._numbers, None)
        if number is None:
            self._transport.close()
            self.done.set_result(None)
            return
        self._sent_s = time.perf_counter()
        self._transport.write(self._line(number))

    def data_received(self, data: bytes) -> None:
        # Final lines end a request; a stream's chunks before it do not.
        if data.endswith(b"\n") and b'"method":"chunk"' not in data.rsplit(b"\n", 2)[-2]:
            self._load.trips_s.append(time.perf_counter() - self._sent_s)
            self.go()


def crowd(path: Path, line: Callable[[int], bytes], *, clients: int, count: int) -> Load:
    """Ask ``count`` times in all over ``clients`` connections, one under way on each."""

    async def ask_all() -> Load:
        load, numbers = Load(), iter(range(count))
        loop = asyncio.get_running_loop()
        askers = []
        for _ in range(clients):
            _, asker = await loop.create_unix_connection(
                lambda: _Asker(line, numbers, load), str(path)
            )
            askers.append(asker)
        started = time.perf_counter()
        for asker in askers:
            asker.go()
        await asyncio.gather(*(asker.done for asker in askers))
        load.took_s = time.perf_counter() - started
        return load

    return uvloop.run(ask_all())


def print_rows(title: str, rows: list[Row]) -> None:
    """Print a table that aligns, with the floor beside each figure."""
    header = ("", "ours", "floor", "ratio", "promised")
    cells = [header] + [
        (
            row.what,
            row.ours,
            row.floor,
            "" if row.ratio is None else f"{row.ratio:.2f}",
            row.promised,
        )
        for row in rows
    ]
    widths = [max(len(cell[column]) for cell in cells) for column in range(len(header))]
    print(f"\n{title}")
    for cell in cells:
        print("  " + "  ".join(text.ljust(width) for text, width in zip(cell, widths, strict=True)))
