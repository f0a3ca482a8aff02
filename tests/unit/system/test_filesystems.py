"""File systems by their magic numbers, injected here as no test machine has them all."""

from __future__ import annotations

import errno
import subprocess
from pathlib import Path

import pytest

from sutlerd.system.filesystems import LOCAL_MAGICS, NETWORK_MAGICS, file_system, kernel_statfs


@pytest.mark.fault("S13")
@pytest.mark.parametrize(
    ("magic", "name"),
    [
        (0x6969, "NFS"),
        (0x0BD00BD0, "Lustre"),
        (0x47504653, "GPFS"),
        (0x19830326, "BeeGFS"),
        (0x00C36400, "CephFS"),
        (0xFF534D42, "SMB"),
        (0xFE534D42, "SMB"),
        (0x01021997, "9p"),
    ],
)
def test_network_file_systems_are_known_by_name(magic: int, name: str) -> None:
    found = file_system("/", lambda path: magic)
    assert (found.name, found.is_network, found.is_known) == (name, True, True)


def test_a_local_one_is_known_and_no_number_is_in_both_tables() -> None:
    found = file_system("/", lambda path: 0xEF53)
    assert (found.name, found.is_network, found.is_known) == ("ext2/3/4", False, True)
    assert not NETWORK_MAGICS.keys() & LOCAL_MAGICS.keys()


def test_an_unknown_one_is_named_by_its_number() -> None:
    found = file_system("/", lambda path: 0x65735546)
    assert (found.name, found.is_network, found.is_known) == ("0x65735546", False, False)


def test_a_missing_path_is_judged_by_its_nearest_parent(tmp_path: Path) -> None:
    asked = []

    def statfs(path: str) -> int:
        asked.append(path)
        return kernel_statfs(path)

    there = file_system(str(tmp_path))
    assert file_system(str(tmp_path / "a" / "b"), statfs) == there
    assert asked == [str(tmp_path / "a" / "b"), str(tmp_path / "a"), str(tmp_path)]


def test_a_path_below_a_file_is_judged_by_the_files_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert file_system(str(tmp_path / "file" / "x")) == file_system(str(tmp_path))


def test_the_kernels_number_is_the_one_that_stat_prints(tmp_path: Path) -> None:
    printed = subprocess.check_output(["stat", "--file-system", "--format=%t", str(tmp_path)])
    assert kernel_statfs(str(tmp_path)) == int(printed, 16)


def test_an_error_of_the_kernel_is_passed_on() -> None:
    with pytest.raises(OSError) as raised:
        kernel_statfs("/nowhere/at/all")
    assert raised.value.errno == errno.ENOENT

    def denied(path: str) -> int:
        raise PermissionError(errno.EACCES, "denied", path)

    with pytest.raises(PermissionError):
        file_system("/root/x", denied)
