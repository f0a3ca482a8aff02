"""The daemon itself on folders whose file system says that it is a network's."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from sutlerd.app import LEDGER
from sutlerd.system.exits import Exit
from tests.support.daemon_process import DaemonProcess

#: ``sutlerd`` to whom everything below a folder is on the file system of this number.
MAIN = """
import sys
from functools import partial
from sutlerd import __main__, lifecycle
from sutlerd.system.filesystems import kernel_statfs
magic, folder = int(sys.argv[1], 16), sys.argv[2]
def statfs(path):
    return magic if path.startswith(folder) else kernel_statfs(path)
lifecycle.Host = partial(lifecycle.Host, statfs=statfs)
sys.argv[1:] = sys.argv[3:]
sys.exit(__main__.main())
"""
NFS, LUSTRE = "6969", "0bd00bd0"


class Mounted(DaemonProcess):
    """``part`` of its folder, ``state`` or ``cache``, is on the file system ``magic``."""

    magic, part = "ef53", "state"

    def command(self) -> list[str]:
        mounted = str(self.folder / self.part)
        return [sys.executable, "-c", MAIN, self.magic, mounted, *self._options()]


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="sn-") as path:
        yield Path(path)


@pytest.mark.fault("S13")
def test_a_folder_on_a_network_stops_the_start_and_says_the_way_out(folder: Path) -> None:
    for part, name, magic in (("state", "NFS", NFS), ("cache", "Lustre", LUSTRE)):
        daemon = Mounted(folder)
        daemon.magic, daemon.part = magic, part
        with pytest.raises(AssertionError):
            daemon.start()
        assert daemon.process.returncode == Exit.CANNOT_CREATE
        said = daemon.log().splitlines()[-1]
        assert f"({name})" in said
        assert f"--{part}-dir" in said
        assert "TMPDIR" in said
        assert not daemon.socket.exists()
        assert not (folder / "state" / LEDGER).exists()


@pytest.mark.fault("S13")
def test_a_cache_that_is_off_may_be_anywhere_and_an_unknown_file_system_is_a_warning(
    folder: Path,
) -> None:
    off = Mounted(folder, config="llm: {cache: {enabled: false}}\n")
    off.magic, off.part = NFS, "cache"
    with off:
        assert off.result("status")["state"] == "running"
        assert off.stop() == 0
    unknown = Mounted(folder)
    unknown.magic = "65735546"
    with unknown:
        assert "unknown kind (0x65735546)" in unknown.log()
        assert unknown.stop() == 0
