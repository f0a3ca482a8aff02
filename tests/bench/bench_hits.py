"""Cached hits against a bare echo of the same bytes."""

from __future__ import annotations

import json
import multiprocessing
import time
from pathlib import Path

from tests.bench.parts import Row, blocking_trips, cpu_s, crowd, echo_floor
from tests.bench.served import CHAT_SERVER, daemon_with, loopback_server
from tests.support.daemon_process import DaemonProcess

PROMPT = "x" * 470
ONE_CLIENT_TRIPS = 20_000
CROWD_TRIPS = 60_000
CLIENTS = 32


def hit_line(number: int) -> bytes:
    """Write a request of about 600 bytes as the client library writes it."""
    params = {
        "prompt": PROMPT,
        "temperature": 0.0,
        "request_id": f"0123456789ab-{number}",
        "timeout_s": 60.0,
    }
    request = {"id": number, "method": "complete", "params": params}
    return json.dumps(request, separators=(",", ":")).encode() + b"\n"


def fresh_line(number: int) -> bytes:
    params = {"prompt": f"{PROMPT} {number} {time.monotonic_ns()}", "temperature": 0.0}
    request = {"id": number, "method": "complete", "params": params}
    return json.dumps(request, separators=(",", ":")).encode() + b"\n"


def run(folder: Path) -> list[Row]:
    with (
        loopback_server(CHAT_SERVER) as address,
        daemon_with(folder, address) as daemon,
    ):
        blocking_trips(daemon.socket, hit_line, 50)
        reply_bytes = 1400
        with echo_floor(folder, reply_bytes) as (echo_path, echo_pid):
            rows = [_one_client(daemon, echo_path)]
            rows += _crowd(daemon, echo_path, echo_pid)
        rows.append(_while_storing(daemon))
    return rows


def _one_client(daemon: DaemonProcess, echo_path: Path) -> Row:
    ours = blocking_trips(daemon.socket, hit_line, ONE_CLIENT_TRIPS)
    floor = blocking_trips(echo_path, hit_line, ONE_CLIENT_TRIPS)
    return Row(
        what="hit, one client: round trip p50",
        ours=f"{ours.percentile_us(0.5):.1f} us",
        floor=f"{floor.percentile_us(0.5):.1f} us",
        ratio=ours.percentile_us(0.5) / floor.percentile_us(0.5),
        promised="at most 1.8",
    )


def _crowd(daemon: DaemonProcess, echo_path: Path, echo_pid: int) -> list[Row]:
    before = cpu_s(daemon.process.pid)
    ours = crowd(daemon.socket, hit_line, clients=CLIENTS, count=CROWD_TRIPS)
    ours_cpu_us = (cpu_s(daemon.process.pid) - before) / CROWD_TRIPS * 1e6
    before = cpu_s(echo_pid)
    floor = crowd(echo_path, hit_line, clients=CLIENTS, count=CROWD_TRIPS)
    floor_cpu_us = (cpu_s(echo_pid) - before) / CROWD_TRIPS * 1e6
    return [
        Row(
            what=f"hits, {CLIENTS} clients: answers a second",
            ours=f"{ours.per_s:,.0f}",
            floor=f"{floor.per_s:,.0f}",
            ratio=ours.per_s / floor.per_s,
            promised="at least 0.40",
        ),
        Row(
            what=f"hits, {CLIENTS} clients: server CPU per answer",
            ours=f"{ours_cpu_us:.1f} us",
            floor=f"{floor_cpu_us:.1f} us",
            ratio=ours_cpu_us / floor_cpu_us,
            promised="at most 2.43 (17 us where the echo takes 7)",
        ),
    ]


def _while_storing(daemon: DaemonProcess) -> Row:
    """Hits of one client while another stores a thousand fresh answers a second."""
    quiet = blocking_trips(daemon.socket, hit_line, 5_000)
    before = daemon.result("status")["answers"]["fresh"]
    # A process of its own: in this one it would hold up the very client that is timed.
    storing = multiprocessing.get_context("spawn").Process(target=_store, args=(daemon.socket,))
    storing.start()
    while daemon.result("status")["answers"]["fresh"] < before + 200:
        time.sleep(0.01)
    before, started = daemon.result("status")["answers"]["fresh"], time.perf_counter()
    busy = blocking_trips(daemon.socket, hit_line, 20_000)
    stored = daemon.result("status")["answers"]["fresh"] - before
    took_s = time.perf_counter() - started
    storing.kill()
    storing.join()
    return Row(
        what=f"hit p99 while {stored / took_s:,.0f} answers/s are stored",
        ours=f"{busy.percentile_us(0.99):.0f} us",
        floor=f"{quiet.percentile_us(0.99):.0f} us quiet",
        ratio=busy.percentile_us(0.99) / quiet.percentile_us(0.99),
    )


def _store(socket_path: Path) -> None:
    """Ask a thousand fresh questions a second, until killed."""
    while True:
        started = time.perf_counter()
        crowd(socket_path, fresh_line, clients=8, count=100)
        time.sleep(max(0.0, 0.1 - (time.perf_counter() - started)))
