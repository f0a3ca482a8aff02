"""A stream of 200 chunks relayed, beside the same stream read directly."""

from __future__ import annotations

import asyncio
import json
import socket
import statistics
import time
from pathlib import Path

import aiohttp
import uvloop

from tests.bench.parts import Row
from tests.bench.served import CHAT_SERVER, daemon_with, loopback_server
from tests.support.daemon_process import DaemonProcess

CHUNKS = 200
LONG_CHUNKS = 4_000
STREAMS = 8
TIMES = 50
#: Between two chunks of the short stream: a model's pace, and a fast one's.
PAUSE_S = 0.001


def line(number: int) -> bytes:
    params = {"prompt": f"tell {number}", "temperature": 0.9, "stream": True}
    return json.dumps({"id": number, "method": "complete", "params": params}).encode() + b"\n"


def run(folder: Path) -> list[Row]:
    rows = []
    with (
        loopback_server(CHAT_SERVER, str(CHUNKS), str(PAUSE_S)) as address,
        daemon_with(folder / "short", address) as daemon,
    ):
        with socket.socket(socket.AF_UNIX) as sock:
            # Kept from stream to stream, as the one to the server itself is.
            sock.connect(str(daemon.socket))
            ours = statistics.median(_first_chunk_s(sock, number) for number in range(TIMES))
        direct = uvloop.run(_direct_first_chunk_s(address))
        rows.append(
            Row(
                what=f"stream of {CHUNKS}: added time to first chunk, p50",
                ours=f"{(ours - direct) * 1e6:.0f} us",
                floor=f"{direct * 1e6:.0f} us direct",
                ratio=ours / direct,
                promised="at most 300 us added",
            )
        )
    with (
        loopback_server(CHAT_SERVER, str(LONG_CHUNKS)) as address,
        daemon_with(folder / "long", address) as daemon,
    ):
        per_s = uvloop.run(_relayed_per_s(daemon))
        floor = uvloop.run(_direct_per_s(address))
        rows.append(
            Row(
                what=f"chunks a second over {STREAMS} streams",
                ours=f"{per_s:,.0f}",
                floor=f"{floor:,.0f} direct, unread",
                ratio=per_s / floor,
                promised="at least 60,000",
            )
        )
    return rows


def _first_chunk_s(sock: socket.socket, number: int) -> float:
    started = time.perf_counter()
    sock.sendall(line(number))
    data = sock.recv(65_536)
    took_s = time.perf_counter() - started
    while b'"result"' not in data[-4096:]:
        data += sock.recv(1 << 20)
    return took_s


async def _direct_first_chunk_s(address: str) -> float:
    took = []
    async with aiohttp.ClientSession() as session:
        for number in range(TIMES):
            body = {
                "model": "m",
                "stream": True,
                "messages": [{"role": "user", "content": str(number)}],
            }
            started = time.perf_counter()
            async with session.post(f"{address}/v1/chat/completions", json=body) as answer:
                async for _ in answer.content:
                    took.append(time.perf_counter() - started)
                    break
                await answer.read()
    return statistics.median(took)


async def _relayed_per_s(daemon: DaemonProcess) -> float:
    async def one(number: int) -> int:
        reader, writer = await asyncio.open_unix_connection(str(daemon.socket), limit=1 << 26)
        writer.write(line(number))
        count = 0
        while True:
            data = await reader.readline()
            if b'"method":"chunk"' not in data:
                writer.close()
                return count
            count += 1

    await one(-1)
    started = time.perf_counter()
    counts = await asyncio.gather(*(one(number) for number in range(STREAMS)))
    return sum(counts) / (time.perf_counter() - started)


async def _direct_per_s(address: str) -> float:
    async def one(session: aiohttp.ClientSession) -> None:
        body = {"model": "m", "stream": True, "messages": []}
        async with session.post(f"{address}/v1/chat/completions", json=body) as answer:
            await answer.read()

    async with aiohttp.ClientSession() as session:
        started = time.perf_counter()
        await asyncio.gather(*(one(session) for _ in range(STREAMS)))
        return STREAMS * LONG_CHUNKS / (time.perf_counter() - started)
