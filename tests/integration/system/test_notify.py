"""What the service manager hears, on real datagram sockets."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sutlerd.system.notify import Notifier, watchdog_interval_s


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    name = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.settimeout(20)
        sock.bind(name if request.param == "path" else "\0" + name)
        yield sock, name if request.param == "path" else "@" + name


def test_every_state_arrives_as_systemd_spells_it(manager: tuple[socket.socket, str]) -> None:
    sock, name = manager
    notifier = Notifier({"NOTIFY_SOCKET": name})
    assert notifier.is_wanted
    before_us = time.monotonic_ns() // 1000
    notifier.ready("serving\n2 providers")
    notifier.reloading()
    notifier.status("12 calls\nREADY=0")
    notifier.watchdog()
    notifier.stopping("draining")
    heard = [sock.recv(1000).decode() for _ in range(5)]
    assert heard[0] == "READY=1\nSTATUS=serving 2 providers"
    reloading, _, stamp = heard[1].partition("\nMONOTONIC_USEC=")
    assert reloading == "RELOADING=1"
    assert before_us <= int(stamp) <= time.monotonic_ns() // 1000
    assert heard[2:] == ["STATUS=12 calls READY=0", "WATCHDOG=1", "STOPPING=1\nSTATUS=draining"]
    assert notifier.failures == 0


@pytest.mark.parametrize("name", ["", "relative", "vsock:2:1234"])
def test_without_a_manager_nothing_is_sent(name: str) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": name})
    notifier.ready("x")
    assert not notifier.is_wanted
    assert notifier.failures == 0
    assert not Notifier({}).is_wanted


def test_a_manager_that_is_gone_or_does_not_listen_stops_nothing(
    manager: tuple[socket.socket, str],
) -> None:
    sock, name = manager
    notifier = Notifier({"NOTIFY_SOCKET": name})
    while notifier.failures == 0:
        notifier.watchdog()  # until its queue is full
    sock.close()
    notifier.ready("x")
    assert notifier.failures == 2


@pytest.mark.parametrize(
    ("environ", "interval_s"),
    [
        ({"WATCHDOG_USEC": "30000000"}, 15.0),
        ({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": str(os.getpid())}, 1.5),
        ({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
)
def test_the_watchdog_is_fed_twice_in_its_time(
    environ: dict[str, str], interval_s: float | None
) -> None:
    assert watchdog_interval_s(environ, pid=os.getpid()) == interval_s
