"""What the check finds before LMDB is let near a file."""

from __future__ import annotations

import struct
from pathlib import Path

import lmdb
import pytest

from sutlerd.cache.lmdb_index import DATABASES, Index
from sutlerd.system.lmdb_check import first_problem

LEAF = 2


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with lmdb.open(str(tmp_path), max_dbs=len(DATABASES), lib_version=0) as env:
        index = Index(env, map_bytes=1 << 20)
        for number in range(100):
            with env.begin(write=True) as txn:
                index.put(txn, b"%d" % number, b"x" * 100 * number, "uid:1", 1e10, number)
                index.remove(txn, b"%d" % (number // 2))
    return tmp_path


def change(folder: Path, place: int, content: bytes) -> None:
    with (folder / "data.mdb").open("r+b") as file:
        file.seek(place)
        file.write(content)


def test_a_sound_file_is_sound_and_left_as_it_is(folder: Path) -> None:
    before = (folder / "data.mdb").read_bytes()
    assert first_problem(folder) is None
    assert (folder / "data.mdb").read_bytes() == before


@pytest.mark.fault("S7")
@pytest.mark.parametrize("page", [0, 1])
@pytest.mark.parametrize("flags_at", [44, 92])
def test_wrong_flags_that_an_assertion_of_lmdb_would_fail_on_are_found(
    folder: Path, page: int, flags_at: int
) -> None:
    change(folder, page * 4096 + flags_at, b"\x0c\x00")
    assert first_problem(folder) is not None


@pytest.mark.fault("S7")
def test_nodes_that_do_not_lie_side_by_side_are_found(folder: Path) -> None:
    data = (folder / "data.mdb").read_bytes()
    found = 0
    for page in range(2, len(data) // 4096):
        flags, lower, upper = struct.unpack_from("=10xHHH", data, page * 4096)
        if flags != LEAF or lower <= 16:
            continue
        # Two bytes more below the nodes are a hole that a deletion would move out of the page.
        change(folder, page * 4096 + 14, struct.pack("=H", upper - 2))
        found += first_problem(folder) is not None
        change(folder, page * 4096 + 14, struct.pack("=H", upper))
    assert found > 3
    assert first_problem(folder) is None


@pytest.mark.fault("S7")
def test_a_database_of_another_kind_is_found(folder: Path) -> None:
    with lmdb.open(str(folder), max_dbs=10, lib_version=0) as env:
        env.open_db(b"foreign", dupsort=True)
    assert first_problem(folder) == "a database has wrong flags"


@pytest.mark.fault("S8")
def test_a_file_cut_short_is_found_without_a_signal(folder: Path) -> None:
    with (folder / "data.mdb").open("r+b") as file:
        file.truncate(20_000)
    assert first_problem(folder)


def test_no_file_is_a_problem_too(tmp_path: Path) -> None:
    assert first_problem(tmp_path) is not None
