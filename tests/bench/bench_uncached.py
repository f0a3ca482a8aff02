"""Uncached calls to a zero-latency loopback server, beside a direct call to it."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

import aiohttp
import openai
import uvloop

from tests.bench.parts import Load, Row, blocking_trips, cpu_s, crowd
from tests.bench.served import CHAT_SERVER, daemon_with, loopback_server
from tests.support.daemon_process import DaemonProcess

CALLS = 10_000
IN_FLIGHT = 32
ONE_BY_ONE = 2_000
SDK_CALLS = 3_000


def line(number: int) -> bytes:
    params = {"prompt": f"what is {number}?", "temperature": 0.9, "request_id": f"bench-{number}"}
    request = {"id": number, "method": "complete", "params": params}
    return json.dumps(request, separators=(",", ":")).encode() + b"\n"


def run(folder: Path) -> list[Row]:
    rows = []
    with loopback_server(CHAT_SERVER) as address:
        direct, direct_cpu_us = uvloop.run(_direct(address, IN_FLIGHT, CALLS))
        alone, _ = uvloop.run(_direct(address, 1, ONE_BY_ONE))
        for transport in ("lean", "sdk"):
            with daemon_with(folder, address, transport) as daemon:
                rows += _rows(daemon, transport, direct, direct_cpu_us, alone)
        rows.append(_against_the_bare_sdk(rows[-3], uvloop.run(_bare_sdk_cpu_us(address))))
    return rows


def _against_the_bare_sdk(ours: Row, bare_us: float) -> Row:
    ours_us = float(ours.ours.split()[0])
    return Row(
        what="uncached, sdk: CPU per call beside the bare SDK's own",
        ours=ours.ours,
        floor=f"{bare_us:.0f} us openai SDK",
        ratio=ours_us / bare_us,
        promised="at most 1.25",
    )


def _rows(
    daemon: DaemonProcess, transport: str, direct: Load, direct_cpu_us: float, alone: Load
) -> list[Row]:
    crowd(daemon.socket, lambda number: line(number + 10**7), clients=IN_FLIGHT, count=500)
    before = cpu_s(daemon.process.pid)
    ours = crowd(daemon.socket, line, clients=IN_FLIGHT, count=CALLS)
    ours_cpu_us = (cpu_s(daemon.process.pid) - before) / CALLS * 1e6
    single = blocking_trips(daemon.socket, lambda number: line(number + 10**6), ONE_BY_ONE)
    lean = transport == "lean"
    return [
        Row(
            what=f"uncached, {transport}: CPU per call",
            ours=f"{ours_cpu_us:.0f} us",
            floor=f"{direct_cpu_us:.0f} us aiohttp client",
            ratio=ours_cpu_us / direct_cpu_us,
            promised="at most 125 us" if lean else "",
        ),
        Row(
            what=f"uncached, {transport}: calls a second, {IN_FLIGHT} in flight",
            ours=f"{ours.per_s:,.0f}",
            floor=f"{direct.per_s:,.0f}",
            ratio=ours.per_s / direct.per_s,
            promised="at least 8,000" if lean else "",
        ),
        Row(
            what=f"uncached, {transport}: added p50, one at a time",
            ours=f"{single.percentile_us(0.5) - alone.percentile_us(0.5):.0f} us",
            floor=f"{alone.percentile_us(0.5):.0f} us direct",
            ratio=single.percentile_us(0.5) / alone.percentile_us(0.5),
            promised="at most 260 us added" if lean else "",
        ),
    ]


async def _direct(address: str, in_flight: int, count: int) -> tuple[Load, float]:
    """Call the server with bare aiohttp on uvloop; give the client's CPU per call in us."""
    load, numbers = Load(), iter(range(count))

    async def work(session: aiohttp.ClientSession) -> None:
        for number in numbers:
            before = time.perf_counter()
            body = {"model": "m", "messages": [{"role": "user", "content": f"what is {number}?"}]}
            async with session.post(f"{address}/v1/chat/completions", json=body) as answer:
                await answer.json()
            load.trips_s.append(time.perf_counter() - before)

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        started, cpu_before = time.perf_counter(), time.process_time()
        await asyncio.gather(*(work(session) for _ in range(in_flight)))
        load.took_s = time.perf_counter() - started
        used_us = (time.process_time() - cpu_before) / count * 1e6
    return load, used_us


async def _bare_sdk_cpu_us(address: str) -> float:
    """Make the same calls with the openai package alone, on aiohttp as in the daemon."""
    client = openai.AsyncOpenAI(
        api_key="bench-key-0123456789",
        base_url=f"{address}/v1",
        max_retries=0,
        http_client=openai.DefaultAioHttpClient(),
    )
    numbers = iter(range(SDK_CALLS))

    async def work() -> None:
        for number in numbers:
            await client.chat.completions.create(
                model="m", messages=[{"role": "user", "content": f"what is {number}?"}]
            )

    async with client:
        await client.chat.completions.create(model="m", messages=[{"role": "user", "content": "x"}])
        cpu_before = time.process_time()
        await asyncio.gather(*(work() for _ in range(IN_FLIGHT)))
        return (time.process_time() - cpu_before) / SDK_CALLS * 1e6
