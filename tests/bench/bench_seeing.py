"""What it costs to see: log, metrics and traces on against off, in turns, in one run.

Counting for the metrics is never off. ``log`` writes a line for each uncached call to a file;
``traces`` does that, too, and sends every uncached call and one hit in a hundred to a collector.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from tests.bench.bench_hits import fresh_line, hit_line
from tests.bench.parts import Row, blocking_trips, cpu_s, crowd
from tests.bench.served import CHAT_SERVER, loopback_server
from tests.support.daemon_process import DaemonProcess

ROUNDS = 5
HITS = 30_000
HITS_ALONE = 4_000
FRESH = 3_000
CLIENTS = 32


@dataclass
class Seen:
    """Figures of one way of seeing, one a round, in microseconds."""

    daemon: DaemonProcess
    hit_cpu: list[float] = field(default_factory=list)
    hit_p50: list[float] = field(default_factory=list)
    fresh_cpu: list[float] = field(default_factory=list)


def run(folder: Path) -> list[Row]:
    with (
        loopback_server(CHAT_SERVER) as address,
        loopback_server(CHAT_SERVER) as collector,
        contextlib.ExitStack() as stack,
    ):
        tracing = {"enabled": True, "endpoint": collector, "hit_sample_pct": 1}
        ways = {
            "off": Seen(stack.enter_context(_daemon(folder / "off", address, "warning", {}))),
            "log": Seen(stack.enter_context(_daemon(folder / "log", address, "info", {}))),
            "traces": Seen(
                stack.enter_context(_daemon(folder / "all", address, "info", {"tracing": tracing}))
            ),
        }
        for seen in ways.values():
            crowd(seen.daemon.socket, fresh_line, clients=CLIENTS, count=500)
        for _ in range(ROUNDS):
            for seen in ways.values():
                _measure(seen)
    off = ways["off"]
    rows = []
    for name, seen in ways.items():
        if seen is off:
            continue
        rows += [
            _row(f"hit, server CPU, {name}", seen.hit_cpu, off.hit_cpu),
            _row(f"hit, one client, p50, {name}", seen.hit_p50, off.hit_p50),
            _row(f"uncached call, server CPU, {name}", seen.fresh_cpu, off.fresh_cpu),
        ]
    return rows


def _daemon(folder: Path, address: str, level: str, monitoring: dict[str, Any]) -> DaemonProcess:
    bench = {
        "kind": "llama_cpp",
        "base_url": f"{address}/v1",
        "api_key": "bench-key-0123456789",
        "default_model": "m",
        "models": ["m"],
    }
    llm = {"default_provider": "bench", "providers": {"bench": bench}, "monitoring": monitoring}
    config = {"llm": llm, "daemon": {"log_level": level, "log_format": "json"}}
    return DaemonProcess(folder, config=json.dumps(config))


def _measure(seen: Seen) -> None:
    socket, pid = seen.daemon.socket, seen.daemon.process.pid

    def cpu_us(line: Callable[[int], bytes], count: int) -> float:
        before = cpu_s(pid)
        crowd(socket, line, clients=CLIENTS, count=count)
        return (cpu_s(pid) - before) / count * 1e6

    seen.hit_cpu.append(cpu_us(hit_line, HITS))
    seen.hit_p50.append(blocking_trips(socket, hit_line, HITS_ALONE).percentile_us(0.5))
    seen.fresh_cpu.append(cpu_us(fresh_line, FRESH))


def _row(what: str, ours: list[float], off: list[float]) -> Row:
    return Row(
        what=what,
        ours=f"{median(ours):.1f} us",
        floor=f"{median(off):.1f} us off",
        ratio=median(ours) / median(off),
    )
