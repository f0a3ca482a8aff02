"""A log nobody reads, a loop that stands still: the daemon goes on, or is ended and comes back."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.faults.rig import Rig, serving
from tests.support.probe import Probe

GUARD = Path(__file__).parents[2] / "guard" / "sitecustomize.py"

#: Python imports it before anything else. On SIGUSR1 the loop's thread sleeps.
_STALLS = f"""
import runpy, signal, time

runpy.run_path({str(GUARD)!r}, run_name="sitecustomize")


def stall(*_):
    time.sleep(float(open(__file__ + ".for_s").read()))


signal.signal(signal.SIGUSR1, stall)
"""


@contextlib.contextmanager
def _stallable(folder: Path, *, for_s: float, **settings: object) -> Iterator[Rig]:
    hook = folder / "hook"
    hook.mkdir()
    (hook / "sitecustomize.py").write_text(_STALLS)
    (hook / "sitecustomize.py.for_s").write_text(str(for_s))
    environ = {"PYTHONPATH": os.pathsep.join([str(hook), os.environ.get("PYTHONPATH", "")])}
    environ |= settings.pop("environ", {})  # type: ignore[call-overload]
    with serving(folder, environ=environ, **settings) as rig:
        yield rig


@pytest.mark.fault("R5")
def test_a_loop_that_stands_still_is_told_with_its_stack_and_counted(tmp_path: Path) -> None:
    with _stallable(tmp_path, for_s=1.6) as rig, rig.client() as client:
        rig.daemon.process.send_signal(signal.SIGUSR1)
        # Who asked meanwhile is answered afterwards.
        assert client.result("chat", prompt="asked in between")["content"]
        process = rig.status()["process"]
        assert process["loop_stalls"] == 1
        assert process["longest_stall_s"] > 1.0
        log = rig.daemon.log()
        assert log.count("loop_stalled") == 1
        assert "in stall" in log


@pytest.mark.fault("R5")
def test_the_watchdog_is_fed_by_the_loop_alone_and_what_it_ends_starts_again(
    tmp_path: Path,
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        address = tmp_path / "notify"
        manager.bind(str(address))
        manager.settimeout(20)
        environ = {"NOTIFY_SOCKET": str(address), "WATCHDOG_USEC": "400000"}
        with _stallable(tmp_path, for_s=3600, environ=environ) as rig:
            assert manager.recv(4096).startswith(b"READY=1")
            assert manager.recv(4096) == manager.recv(4096) == b"WATCHDOG=1"
            rig.daemon.process.send_signal(signal.SIGUSR1)
            manager.settimeout(1.2)
            with contextlib.suppress(TimeoutError):
                while True:
                    manager.recv(4096)
            # What systemd does then.
            rig.daemon.process.send_signal(signal.SIGABRT)
            assert rig.daemon.process.wait(20) == -signal.SIGABRT
            assert not [name for name in os.listdir(tmp_path) if name.startswith("core")]
            rig.daemon.start()
            assert rig.daemon.result("chat", prompt="the probe: asked before")["cached"] is True
            Probe(rig.daemon).check()


@pytest.mark.fault("O14")
@pytest.mark.parametrize("where", ["/dev/full", "&-"], ids=["full", "closed"])
def test_a_log_that_takes_nothing_costs_no_call(tmp_path: Path, where: str) -> None:
    prefix = ["sh", "-c", f'exec "$@" 2>{where}', "sh"]
    with serving(tmp_path, prefix=prefix, daemon={"log_level": "debug"}) as rig:
        with rig.client() as client:
            for number in range(200):
                assert client.result("chat", prompt=f"unheard {number}")["cached"] is False
        assert rig.daemon.log() == ""


@pytest.mark.fault("O14")
def test_a_pipe_that_nobody_reads_holds_nobody_up_and_tells_later_what_was_lost(
    tmp_path: Path,
) -> None:
    fifo = tmp_path / "log"
    os.mkfifo(fifo)
    reading = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    try:
        prefix = ["sh", "-c", f'exec "$@" 2>{fifo}', "sh"]
        with serving(tmp_path / "d", prefix=prefix, daemon={"log_level": "debug"}) as rig:
            with rig.client() as client:
                # Each garbage line is a line of the log: far more than pipe and queue hold.
                for _ in range(40):
                    client.send_raw(b"\xff\n" * 1000)
                    for _ in range(1000):
                        client.line()
                assert client.result("chat", prompt="in time")["content"] == "to: in time"
            said = b""
            until_s = time.monotonic() + 20
            while b"log_lines_dropped" not in said:
                assert time.monotonic() < until_s
                with contextlib.suppress(BlockingIOError):
                    said += os.read(reading, 1 << 20)
                rig.daemon.ask("chat", prompt=5)
    finally:
        os.close(reading)
