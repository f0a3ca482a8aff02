"""A file of stored answers: only a whole one is believed, and no other does any harm."""

from __future__ import annotations

import gzip
import json
import os
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sutler import cache_file
from sutler.cache_file import MAX_LINE_BYTES, Opened, Packed, batches, check
from sutler.cache_moves import changes, differing_heads, shown
from sutler.cli_exit import UsageProblem

HEAD = {"version": "1.2", "key_version": 3, "price_table": "ab", "prompts": {"plan@1": "cd"}}


def reply(number: int, content: str = "ja", **more: Any) -> dict[str, Any]:
    said = {"content": content, "provider": "p", "model": "m", "saved_nanousd": 3, **more}
    return {"kind": "reply", "key": f"{number:064x}", "stored_unix_s": 1.0, "reply": said}


def vector(number: int) -> dict[str, Any]:
    key = f"{number:064x}"
    return {"kind": "vector", "key": key, "model": "v", "dimension": 1, "floats": "AAAAAA=="}


ENTRIES = [reply(1), reply(2, prompt={"name": "plan", "version": "1", "hash": "cd"}), vector(1)]


def written(path: Path, entries: list[dict[str, Any]], **head: Any) -> Path:
    with Packed(str(path)) as packed:
        packed.head({**HEAD, **head})
        for entry in entries:
            packed.add(entry)
        packed.end()
    return path


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    return written(tmp_path / "whole", ENTRIES)


def refusal(path: Path) -> str:
    with pytest.raises(UsageProblem) as caught:
        check(str(path))
    said = str(caught.value)
    assert said.startswith(str(path))
    return said.removeprefix(str(path))


def test_what_is_written_is_read_again_packed_or_not(whole: Path, tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.write_bytes(gzip.decompress(whole.read_bytes()))
    for path in (whole, plain):
        with Opened(str(path)) as opened:
            assert [entry for entry, _ in opened.entries()] == ENTRIES
            assert opened.head == {"sutler_cache": cache_file.FORMAT, **HEAD}
            assert opened.manifest["models"] == {"p/m": 2, "v": 1}
            assert opened.manifest["prompts"] == {"plan@1": "cd"}
    with Opened(str(whole)) as opened:
        told = [(len(batch), first) for batch, first in batches(opened, 2, 1 << 20)]
    assert told == [(2, 2), (1, 4)]


def test_a_file_cut_anywhere_is_refused(whole: Path, tmp_path: Path) -> None:
    packed = whole.read_bytes()
    plain = gzip.decompress(packed)
    path = tmp_path / "cut"
    for raw in (packed, plain):
        for size in {*range(0, len(raw), 7), len(raw) - 1}:
            path.write_bytes(raw[:size])
            refusal(path)


def test_a_file_with_any_byte_flipped_is_refused(whole: Path, tmp_path: Path) -> None:
    packed = whole.read_bytes()
    path = tmp_path / "flipped"
    harmless = set(range(3, 10))  # gzip's flag for texts, time and system say nothing
    for place in set(range(len(packed))) - harmless:
        path.write_bytes(packed[:place] + bytes([packed[place] ^ 1]) + packed[place + 1 :])
        refusal(path)
    plain = gzip.decompress(packed)
    for place in range(0, len(plain), 5):
        path.write_bytes(plain[:place] + bytes([plain[place] ^ 1]) + plain[place + 1 :])
        refusal(path)


def test_lines_that_are_gone_doubled_moved_or_added_are_told(whole: Path, tmp_path: Path) -> None:
    head, one, two, three, manifest = gzip.decompress(whole.read_bytes()).splitlines(keepends=True)
    path = tmp_path / "changed"
    for lines, why in [
        ([head, one, three, manifest], ":4: the manifest is not that"),
        ([head, one, one, two, three, manifest], ":3: is not in the order"),
        ([head, two, one, three, manifest], ":3: is not in the order"),
        ([head, one, two, three], ":5: ends before its manifest"),
        ([head, one, two, three, manifest, three], ":6: goes on after"),
        ([one, two, three, manifest], ": is no file of sutler cache export"),
        ([], ": is no file of sutler cache export"),
        ([head, b"[1]\n"], ":2: is no object"),
        ([head, b"\xff\n"], ":2: is not JSON"),
        ([head, b"[" * 100_000 + b"\n"], ":2: is not JSON"),
        ([head, b'{"a":' + b"9" * 5_000 + b"}\n"], ":2: is not JSON"),
        ([head, b'{"a":NaN}\n'], ":2: is not JSON"),
        ([head, b'{"a":1e999}\n'], ":2: is not JSON"),
        ([head, b'{"kind":[],"key":{}}\n'], ":2: is no answer"),
    ]:
        path.write_bytes(b"".join(lines))
        assert refusal(path).startswith(why)


@pytest.mark.parametrize(
    "entry",
    [
        {**reply(1), "reply": None},
        {**reply(1), "reply": []},
        {**reply(1), "reply": {"provider": "p"}},
        {**reply(1), "key": "\ud800" * 64},
        {**reply(1), "reply": None, "model": "m"},
        {"kind": "vector", "key": "0" * 64, "model": "m"},
        {"kind": "vector", "key": "0" * 64, "model": "m", "dimension": "x"},
        {**vector(1), "reply": {"provider": "p", "model": "m"}},
        {**reply(1), "reply": {**reply(1)["reply"], "prompt": "plan"}},
        {**reply(1), "reply": {**reply(1)["reply"], "prompt": {"name": "plan"}}},
    ],
)
def test_what_is_no_answer_is_told_with_its_line(tmp_path: Path, entry: dict[str, Any]) -> None:
    path = tmp_path / "odd"
    head = json.dumps({"sutler_cache": cache_file.FORMAT, **HEAD}, separators=(",", ":"))
    path.write_text(head + "\n" + json.dumps(entry) + "\n")
    assert refusal(path) == ":2: is no answer"


def test_another_format_is_named_and_nothing_of_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "later"
    for later in ("2", '"one"', "true", "1.0", "null"):
        path.write_text(f'{{"sutler_cache":{later},"key_version":1}}\n' + "not JSON\n")
        assert ": is of format " in refusal(path)
    for no_head in (
        '{"sutler_cache":1}',
        '{"sutler_cache":1,"key_version":"1"}',
        '{"x":1}',
        "\x00",
    ):
        path.write_text(no_head + "\n")
        assert "is no file of sutler cache export" in refusal(path)


def test_what_is_made_to_fill_memory_or_disk_is_refused_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bomb = tmp_path / "bomb"
    head = json.dumps({"sutler_cache": cache_file.FORMAT, **HEAD}, separators=(",", ":"))
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    one_line = packer.compress(head.encode() + b"\n" + b"x" * (MAX_LINE_BYTES + 1))
    bomb.write_bytes(one_line + packer.flush())
    assert refusal(bomb) == f":2: is longer than {MAX_LINE_BYTES} bytes"

    monkeypatch.setattr(cache_file, "_HARMLESS_BYTES", 1 << 20)
    bomb = written(tmp_path / "many", [reply(n, "x" * 10_000) for n in range(400)])
    assert bomb.stat().st_size < 40_000
    assert "unpacks to more than" in refusal(bomb)
    bomb.write_bytes(whole_again(bomb))
    refusal(bomb)


def whole_again(path: Path) -> bytes:
    """Give a packed file packed once more."""
    return gzip.compress(path.read_bytes())


def test_what_is_no_file_is_told(tmp_path: Path) -> None:
    assert "is no file" in refusal(tmp_path)
    assert refusal(tmp_path / "none") == ": No such file or directory"


def test_two_files_differ_by_what_was_answered(tmp_path: Path) -> None:
    one = written(tmp_path / "one", [reply(1), reply(2), reply(4, "x"), vector(1)])
    later = {**reply(2), "stored_unix_s": 9.0}
    later["reply"] = {**later["reply"], "saved_nanousd": None}
    two = written(tmp_path / "two", [later, reply(3, "\x1b[2J"), reply(4, "y")], version="1.3")
    with Opened(str(one)) as first, Opened(str(two)) as second:
        assert list(differing_heads(first, second)) == ["version: 1.2, 1.3"]
        told = [sign for sign, _, _ in changes(first, second)]
    assert told == ["-", "=", "+", "~", "-"]
    assert shown(vector(1)) == "000000000000 v: 1 floats"
    assert "\x1b" not in shown(reply(3, "\x1b[2J"))


def test_a_file_that_cannot_be_finished_leaves_the_old_one(whole: Path) -> None:
    before = whole.read_bytes()
    packed = Packed(str(whole))
    packed.__enter__()
    packed.head(HEAD)
    packed.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
    assert whole.read_bytes() == before
    assert [path.name for path in whole.parent.iterdir()] == [whole.name]


def test_a_device_or_a_pipe_is_not_replaced_by_a_file(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (pipe, tmp_path):
        with pytest.raises(OSError, match="is no file"), Packed(str(path)):
            pass
    assert pipe.is_fifo()
    assert list(tmp_path.iterdir()) == [pipe]


@settings(max_examples=50, deadline=None)
@given(junk=st.binary(max_size=300), at=st.integers(0, 400))
def test_junk_in_a_file_is_a_usage_problem_and_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, junk: bytes, at: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "junk"
    raw = gzip.decompress(written(path, ENTRIES).read_bytes())
    spoilt = raw[:at] + junk + raw[at:]
    path.write_bytes(spoilt)
    if spoilt != raw:
        refusal(path)
