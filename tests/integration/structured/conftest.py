"""One daemon with the embedded model for all tests of this folder."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from sutler import Client
from tests.support.daemon_process import DaemonProcess


@pytest.fixture(scope="module")
def daemon() -> Iterator[DaemonProcess]:
    with (
        tempfile.TemporaryDirectory(prefix="st-") as folder,
        DaemonProcess(Path(folder), config="embedded: {threads: 1}\n") as running,
    ):
        yield running


@pytest.fixture
def client(daemon: DaemonProcess) -> Iterator[Client]:
    with Client(str(daemon.socket), timeout_s=50) as one:
        yield one
