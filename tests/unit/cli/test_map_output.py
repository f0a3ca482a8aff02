"""The output file of `sutler map`: whole rows, in order, one writer."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sutler.cli_exit import CommandFailed, UsageProblem
from sutler.cli_map_output import OutputFile
from sutler.cli_map_rows import read_row, written_line


def line(index: int, content: str = "x") -> bytes:
    return written_line(read_row(index, b'"p"', {}), "result", {"content": content})


def opened(path: Path, *, overwrite: bool = False) -> OutputFile:
    output = OutputFile(str(path))
    output.open(overwrite)
    return output


def test_rows_are_appended_to_what_is_there(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    first = opened(path)
    first.append(line(0))
    first.append(line(1))
    first.close()
    second = opened(path)
    assert [row.index for row in second.rows] == [0, 1]
    second.append(line(2))
    second.close()
    assert path.read_bytes() == line(0) + line(1) + line(2)


def test_a_torn_last_line_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    path.write_bytes(line(0) + line(1)[:-5])
    output = opened(path)
    assert len(output.rows) == 1
    output.append(line(1))
    output.close()
    assert path.read_bytes() == line(0) + line(1)


@pytest.mark.parametrize("held", [b"notes", b"notes\n", line(1), line(0) + b"{}\n", line(0) * 2])
def test_a_file_of_anything_else_is_left_alone(tmp_path: Path, held: bytes) -> None:
    path = tmp_path / "out.jsonl"
    path.write_bytes(held)
    with pytest.raises(UsageProblem, match="name another file"):
        opened(path)
    assert path.read_bytes() == held


def test_overwrite_begins_anew(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    path.write_bytes(b"notes\n")
    output = opened(path, overwrite=True)
    output.append(line(0))
    output.close()
    assert path.read_bytes() == line(0)


def test_two_runs_never_write_one_file(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    first = opened(path)
    with pytest.raises(UsageProblem, match="another sutler map is writing"):
        opened(path)
    first.append(line(0))
    first.append(line(1))
    first.replace({0: line(0, "new")})
    with pytest.raises(UsageProblem, match="another sutler map is writing"):
        opened(path)
    first.close()


def test_replaced_rows_keep_their_place_and_the_file_its_mode_and_links(tmp_path: Path) -> None:
    path, link = tmp_path / "out.jsonl", tmp_path / "link.jsonl"
    link.symlink_to(path)
    output = opened(link)
    output.append(line(0))
    output.append(line(1))
    output.append(line(2))
    path.chmod(0o640)
    output.replace({1: line(1, "new")})
    output.append(line(3))
    output.close()
    assert path.read_bytes() == line(0) + line(1, "new") + line(2) + line(3)
    assert path.stat().st_mode & 0o777 == 0o640
    assert link.is_symlink()
    assert sorted(os.listdir(tmp_path)) == ["link.jsonl", "out.jsonl"]


def test_a_full_disk_is_said_with_what_to_do() -> None:
    output = opened(Path("/dev/full"))
    with pytest.raises(CommandFailed, match="No space left on device; what was written"):
        output.append(line(0))
    output.close()


def test_a_file_that_cannot_be_made_is_a_usage_problem(tmp_path: Path) -> None:
    with pytest.raises(UsageProblem, match="No such file"):
        opened(tmp_path / "missing" / "out.jsonl")
