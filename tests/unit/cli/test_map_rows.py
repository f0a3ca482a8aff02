"""The rows that `sutler map` reads and writes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sutler.cli_map_rows import is_torn, read_row, read_rows, read_written, written_line


def row_of(value: Any, **options: Any) -> Any:
    return read_row(0, json.dumps(value).encode(), options)


def test_every_kind_of_row_becomes_a_call() -> None:
    lines = [b'"a prompt"\n', b"\n", b'{"prompt": "p", "id": 7}\r\n', b'[{"role": "user"}]']
    rows = list(read_rows(lines, {"seed": 1}))
    assert [row.index for row in rows] == [0, 1, 2]
    assert [row.tag for row in rows] == [None, 7, None]
    assert rows[0].parameters == {"prompt": "a prompt", "seed": 1}
    assert rows[1].parameters == {"prompt": "p", "seed": 1}
    assert rows[2].parameters == {"messages": [{"role": "user"}], "seed": 1}


@pytest.mark.parametrize(
    "raw", [b"{", b"7", b"{}", b'"caf\xe9"', b'{"prompt": NaN}', b"[" * 100_000]
)
def test_a_row_that_cannot_be_asked_says_so_and_stops_nobody(raw: bytes) -> None:
    bad, good = read_rows([raw, b'"fine"'], {})
    assert bad.problem is not None
    assert bad.problem.startswith("the row cannot be asked: ")
    assert good.problem is None


def test_the_digest_is_of_what_is_asked() -> None:
    plain = row_of({"prompt": "p", "seed": 1})
    assert plain.digest == row_of({"seed": 1, "prompt": "p", "id": "x"}).digest
    assert plain.digest == row_of("p", seed=1).digest
    assert plain.digest == row_of({"prompt": "p", "seed": 1, "lane": "background"}).digest
    assert plain.digest != row_of({"prompt": "p", "seed": 2}).digest


def test_a_written_line_is_read_back() -> None:
    row = row_of({"prompt": "p", "id": "mine"})
    line = written_line(row, "result", {"content": "é"})
    assert json.loads(line) == {
        "index": 0,
        "input": row.digest,
        "id": "mine",
        "result": {"content": "é"},
    }
    written = read_written(line)
    assert written is not None
    assert (written.index, written.digest, written.error) == (0, row.digest, None)


@pytest.mark.parametrize("retryable", [True, False])
def test_a_written_error_says_whether_it_may_pass(retryable: bool) -> None:
    error = {"type": "timeout", "message": "m", "retryable": retryable}
    written = read_written(written_line(row_of("p"), "error", error))
    assert written is not None
    assert written.error == error
    assert written.retryable is retryable


@pytest.mark.parametrize(
    "raw", [b"", b"text\n", b'{"index": 0}\n', b'{"index": 0, "input": "x"}\n', b'{"index": 0, "i']
)
def test_a_foreign_line_is_not_taken_for_ours(raw: bytes) -> None:
    assert read_written(raw) is None


@given(st.integers(min_value=0, max_value=80), st.integers(min_value=0, max_value=9))
def test_our_line_cut_anywhere_is_known_as_torn(cut: int, zeros: int) -> None:
    line = written_line(row_of("p"), "result", {"content": "x"})
    assert is_torn(line[:cut] + b"\x00" * zeros)


def test_a_foreign_end_of_file_is_not_torn() -> None:
    assert not is_torn(b"my precious notes")


def test_a_row_keeps_its_request_id_however_often_it_is_asked() -> None:
    row, other = row_of("p"), row_of("p")
    assert row.asked() == row.asked() == {"prompt": "p", "request_id": row.asked()["request_id"]}
    assert row.asked() != other.asked()
    assert row_of({"prompt": "p", "request_id": "mine"}).asked()["request_id"] == "mine"
