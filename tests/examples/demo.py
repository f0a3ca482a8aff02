"""``make demo``: eight MPI ranks share one real language model through one daemon.

The daemon has no configuration: it serves the embedded model, with no key and no network.
What it keeps is in ``.demo/`` (or the folder given as the only argument), so that the next
run finds this run's answers.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from demo_report import Row, conclusion, table

from sutler import Client, SutlerError
from sutler.wire import MAX_SOCKET_PATH_BYTES

RANKS = 8
READY_WITHIN_S = 20.0
DRAINED_WITHIN_S = 40.0

HERE = Path(__file__).resolve().parent
CHECKOUT = HERE.parents[1]
#: Where the running interpreter's own installation has its commands.
COMMANDS = Path(sys.executable).parent


def say(text: str) -> None:
    print(f"\n== {text}", flush=True)


@contextmanager
def runtime_folder(kept: Path) -> Iterator[Path]:
    """Give a private folder for the socket: under ``kept``, unless its path is too long."""
    folder = kept / "run"
    if len(os.fsencode(folder / "sutler.sock")) <= MAX_SOCKET_PATH_BYTES:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        yield folder
    else:
        with tempfile.TemporaryDirectory(prefix="sutler-demo-") as temporary:
            yield Path(temporary)


def start_daemon(kept: Path, socket: Path) -> subprocess.Popen[bytes]:
    """Start sutlerd and return once it answers; exits with its last words if it does not."""
    log = kept / "sutlerd.log"
    with log.open("wb") as sink:
        daemon = subprocess.Popen(
            [
                COMMANDS / "sutlerd",
                f"--socket={socket}",
                f"--state-dir={kept / 'state'}",
                f"--cache-dir={kept / 'cache'}",
            ],
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
        )
    started_s = time.monotonic()
    while time.monotonic() - started_s < READY_WITHIN_S and daemon.poll() is None:
        if socket.exists() and answers(socket):
            print(f"sutlerd answers after {time.monotonic() - started_s:.2f} s; its log: {log}")
            return daemon
        time.sleep(0.02)
    daemon.kill()
    sys.exit(f"sutlerd did not start; its log says:\n{log.read_text()}")


def answers(socket: Path) -> bool:
    try:
        with Client(str(socket)) as client:
            client.ping()
    except SutlerError:
        return False
    return True


def run_ranks(socket: Path, rows: Path) -> list[Row]:
    environment = {**os.environ, "SUTLER_SOCKET": str(socket)}
    rank = [sys.executable, str(HERE / "demo_rank.py"), str(rows)]
    command = [str(COMMANDS / "mpiexec"), "-n", str(RANKS), *rank]
    subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, check=True)
    told: list[Row] = json.loads(rows.read_text())
    return told


def attempts(socket: Path) -> int:
    with Client(str(socket)) as client:
        providers = client.status()["providers"]
    return sum(provider["attempts"] for provider in providers.values())


def stop_daemon(daemon: subprocess.Popen[bytes]) -> None:
    daemon.send_signal(signal.SIGTERM)
    status = daemon.wait(DRAINED_WITHIN_S)
    if status:
        sys.exit(f"sutlerd ended with exit status {status}")
    print("sutlerd stopped cleanly (SIGTERM, exit status 0)")


def main() -> None:
    kept = Path(sys.argv[1] if len(sys.argv) > 1 else CHECKOUT / ".demo").resolve()
    kept.mkdir(mode=0o700, parents=True, exist_ok=True)
    with runtime_folder(kept) as runtime:
        say("starting sutlerd with no configuration, on the embedded model")
        socket = runtime / "sutler.sock"
        daemon = start_daemon(kept, socket)
        try:
            say(f"mpiexec -n {RANKS}: three questions all ranks share, two of their own, a text")
            rows = run_ranks(socket, kept / "rows.json")
            say("the account")
            print(table(rows))
            print(conclusion(rows))
            print(f"sutlerd's own count of attempts at the model: {attempts(socket)}")
            say("stopping sutlerd")
            stop_daemon(daemon)
        finally:
            if daemon.poll() is None:
                daemon.kill()
    print(f"\nRun it again: the answers are in {kept / 'cache'}.")


if __name__ == "__main__":
    main()
