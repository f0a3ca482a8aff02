"""The HTTP side beside the line protocol for hits, and beside the bare SDK for fresh calls."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import httpx2
import openai
import uvloop

from tests.bench.bench_hits import PROMPT, hit_line
from tests.bench.parts import Load, Row, blocking_trips, cpu_s, crowd
from tests.bench.served import CHAT_SERVER, daemon_with, loopback_server
from tests.support.daemon_process import DaemonProcess

ONE_BY_ONE = 5_000
CROWD = 20_000
CLIENTS = 32
SDK_CALLS = 600
_END = b"\r\n\r\n"


def hit_request() -> bytes:
    body = {"model": "m", "messages": [{"role": "user", "content": PROMPT}], "temperature": 0.0}
    data = json.dumps(body, separators=(",", ":")).encode()
    head = (
        "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
    )
    return head.encode() + data


def run(folder: Path) -> list[Row]:
    with loopback_server(CHAT_SERVER) as address, daemon_with(folder, address) as daemon:
        path = daemon.socket.with_name("s-http.sock")
        rows = _hits(daemon, path)
        rows.append(uvloop.run(_beside_the_sdk(address, path)))
    return rows


def _hits(daemon: DaemonProcess, path: Path) -> list[Row]:
    blocking_trips(daemon.socket, hit_line, 50)
    _one_by_one(path, 50)
    ours = _one_by_one(path, ONE_BY_ONE)
    lines = blocking_trips(daemon.socket, hit_line, ONE_BY_ONE)
    added_us = ours.percentile_us(0.5) - lines.percentile_us(0.5)
    before = cpu_s(daemon.process.pid)
    many = uvloop.run(_crowd(path))
    cpu_us = (cpu_s(daemon.process.pid) - before) / CROWD * 1e6
    many_lines = crowd(daemon.socket, hit_line, clients=CLIENTS, count=CROWD)
    return [
        Row(
            what="hit over HTTP, one client: round trip p50",
            ours=f"{ours.percentile_us(0.5):.0f} us ({added_us:.0f} added)",
            floor=f"{lines.percentile_us(0.5):.0f} us by lines",
            ratio=ours.percentile_us(0.5) / lines.percentile_us(0.5),
        ),
        Row(
            what=f"hits over HTTP, {CLIENTS} clients: answers a second",
            ours=f"{many.per_s:,.0f} ({cpu_us:.0f} us of CPU each)",
            floor=f"{many_lines.per_s:,.0f} by lines",
            ratio=many.per_s / many_lines.per_s,
        ),
    ]


def _one_by_one(path: Path, count: int) -> Load:
    load, request = Load(), hit_request()
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(path))
        started = time.perf_counter()
        for _ in range(count):
            before = time.perf_counter()
            sock.sendall(request)
            answer = _Answer()
            while not answer.whole(sock.recv(1 << 20)):
                pass
            load.trips_s.append(time.perf_counter() - before)
        load.took_s = time.perf_counter() - started
    return load


class _Answer:
    """One answer as it arrives."""

    def __init__(self) -> None:
        self._held = b""
        self._size = -1

    def whole(self, data: bytes) -> bool:
        assert data, "the daemon has closed"
        self._held += data
        if self._size < 0 and _END in self._held:
            head, _, _ = self._held.partition(_END)
            assert head.startswith(b"HTTP/1.1 200"), head
            length = head.lower().split(b"content-length:")[1].split(b"\r\n")[0]
            self._size = len(head) + len(_END) + int(length)
        return len(self._held) == self._size


class _Asker(asyncio.Protocol):
    """Keeps one request under way until its share is done."""

    def __init__(self, numbers: Iterator[int], load: Load) -> None:
        self._numbers = numbers
        self._load = load
        self._request = hit_request()
        self._transport: asyncio.Transport
        self._answer = _Answer()
        self.done = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def go(self) -> None:
        if next(self._numbers, None) is None:
            self._transport.close()
            self.done.set_result(None)
            return
        self._answer = _Answer()
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        if self._answer.whole(data):
            self._load.trips_s.append(0.0)
            self.go()


async def _crowd(path: Path) -> Load:
    load, numbers = Load(), iter(range(CROWD))
    loop = asyncio.get_running_loop()
    askers = []
    for _ in range(CLIENTS):
        _, asker = await loop.create_unix_connection(lambda: _Asker(numbers, load), str(path))
        askers.append(asker)
    started = time.perf_counter()
    for asker in askers:
        asker.go()
    await asyncio.gather(*(asker.done for asker in askers))
    load.took_s = time.perf_counter() - started
    return load


async def _beside_the_sdk(address: str, path: Path) -> Row:
    transport = httpx2.AsyncHTTPTransport(uds=str(path))
    async with (
        openai.AsyncOpenAI(base_url=f"{address}/v1", api_key="k", max_retries=0) as bare,
        openai.AsyncOpenAI(
            base_url="http://localhost/v1",
            api_key="k",
            max_retries=0,
            http_client=httpx2.AsyncClient(transport=transport),
        ) as through,
    ):
        await _fresh(bare, 50)
        await _fresh(through, 50)
        direct_us, ours_us = await _fresh(bare, SDK_CALLS), await _fresh(through, SDK_CALLS)
    return Row(
        what="fresh call by the openai package: p50",
        ours=f"{ours_us / 1000:.2f} ms ({(ours_us - direct_us) / 1000:.2f} added)",
        floor=f"{direct_us / 1000:.2f} ms to the server itself",
        ratio=ours_us / direct_us,
    )


async def _fresh(client: openai.AsyncOpenAI, count: int) -> float:
    """Ask what was never asked, one by one; give the p50 in microseconds."""
    load = Load()
    for number in range(count):
        text = f"fresh {number} {time.monotonic_ns()}"
        before = time.perf_counter()
        await client.chat.completions.create(
            model="m", messages=[{"role": "user", "content": text}], temperature=0.0
        )
        load.trips_s.append(time.perf_counter() - before)
    return load.percentile_us(0.5)
