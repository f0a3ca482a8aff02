"""Start to READY and to the first answer, memory idle and of idle clients, the client's import."""

from __future__ import annotations

import os
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path

from tests.bench.parts import Row, resident_mib
from tests.support.daemon_process import DaemonProcess

STARTS = 7
IMPORTS = 21
IDLE_CLIENTS = 1_000
ENDED_S = 30.0


def run(folder: Path) -> list[Row]:
    return [*_imports(), *_starts(folder), _idle_clients(folder)]


def _starts(folder: Path) -> list[Row]:
    """Time the way a service manager does: from exec to READY=1 on the notify socket."""
    took, answered, idle = [], [], 0.0
    for number in range(STARTS):
        home = folder / f"start{number}"
        home.mkdir()
        notify = str(home / "notify")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
            listening.bind(notify)
            started = time.perf_counter()
            process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "sutlerd",
                    f"--socket={home / 'run' / 's.sock'}",
                    f"--state-dir={home / 'state'}",
                    f"--cache-dir={home / 'cache'}",
                    "--log-level=warning",
                ],
                env={**os.environ, "NOTIFY_SOCKET": notify},
            )
            while b"READY=1" not in listening.recv(4096):
                pass
            took.append(time.perf_counter() - started)
            _answered(str(home / "run" / "s.sock"))
            answered.append(time.perf_counter() - started)
            idle = resident_mib(process.pid)
            process.terminate()
            process.wait(ENDED_S)
    floor = _median_s("import asyncio, uvloop", 7)
    return [
        Row(
            what="start to READY, median",
            ours=f"{statistics.median(took):.3f} s",
            floor=f"{floor:.3f} s import asyncio, uvloop",
            ratio=statistics.median(took) / floor,
            promised="at most 0.35 s",
        ),
        Row(
            what="start to the first refused call, median",
            ours=f"{statistics.median(answered):.3f} s",
        ),
        Row(what="resident memory, idle", ours=f"{idle:.1f} MiB", promised="at most 60 MiB"),
    ]


def _answered(path: str) -> None:
    """Wait for what is loaded behind READY: the first caller does, and memory has all of it."""
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(path)
        client.sendall(b'{"id":1,"method":"complete","params":{}}\n')
        client.recv(4096)


def _idle_clients(folder: Path) -> Row:
    with DaemonProcess(folder / "idle") as daemon:
        before = resident_mib(daemon.process.pid)
        clients = []
        for _ in range(IDLE_CLIENTS):
            client = socket.socket(socket.AF_UNIX)
            client.connect(str(daemon.socket))
            client.sendall(b'{"method":"ping"}\n')
            clients.append(client)
        for client in clients:
            client.recv(4096)
        added_kib = (resident_mib(daemon.process.pid) - before) * 1024 / IDLE_CLIENTS
        for client in clients:
            client.close()
    return Row(
        what=f"memory of one of {IDLE_CLIENTS} idle clients",
        ours=f"{added_kib:.1f} KiB",
        promised="at most 16 KiB",
    )


def _imports() -> list[Row]:
    ours = _median_s("import sutler", IMPORTS)
    floor = _median_s("import json, socket", IMPORTS)
    count = "import sys; {}; print(len(sys.modules))"
    more = int(_run(count.format("import sutler"))) - int(_run(count.format("import json, socket")))
    return [
        Row(
            what="import sutler",
            ours=f"{ours * 1e3:.1f} ms",
            floor=f"{floor * 1e3:.1f} ms import json, socket",
            ratio=ours / floor,
            promised="at most 1.15",
        ),
        Row(what="modules beyond json and socket", ours=str(more), promised="at most 8"),
    ]


def _median_s(source: str, times: int) -> float:
    took = []
    for _ in range(times):
        started = time.perf_counter()
        _run(source)
        took.append(time.perf_counter() - started)
    return statistics.median(took)


def _run(source: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", source], check=True, capture_output=True, text=True
    ).stdout
