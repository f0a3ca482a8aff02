"""Recordings: one form for each request, and a file that is whole or says that it is not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sutlerd.domain.errors import CacheMiss
from sutlerd.pipeline import player, tape
from sutlerd.pipeline.occurrences import Asking
from sutlerd.pipeline.player import Player
from sutlerd.pipeline.question import Question, Voice, key_of
from sutlerd.pipeline.recording import first_line, nearest_said, read_line, reply_line
from sutlerd.pipeline.tape import Recorder
from sutlerd.system.exits import CannotStart
from tests.support.event_list import EventList
from tests.support.virtual_clock import VirtualClock

#: Recorded askings: what was asked and who asked, in their order.
Asked = list[tuple[str, str | None]]


def question(text: str, rank: str | None = None, name: str | None = None, **more: Any) -> Question:
    asked = {"kind": "chat", "messages": [{"role": "user", "content": text}], **more}
    again = None if name is None else (1000, name)
    return Question(asked=asked, key=key_of(asked), voice=Voice(rank=rank), again=again)


def reply(content: str) -> bytes:
    """Write a reply's shared part, as it is stored."""
    told = {"content": content, "finish_reason": "stop", "tool_calls": None, "reasoning": None}
    served = {"model": "m", "provider": "p", "usage": {}, "saved_nanousd": 0}
    return json.dumps({**told, **served}, separators=(",", ":")).encode()


def recorder(path: Path, log: EventList | None = None) -> Recorder:
    return Recorder(path, version="1", clock=VirtualClock(), log=log or EventList())


def play(player: Player, *args: Any) -> str:
    content: str = json.loads(player.play(question(*args)))["content"]
    return content


def record(path: Path, asked: Asked, answered: list[int]) -> list[str]:
    """Record askings that come in their order and are answered in another one; give replies."""
    made, replies = recorder(path), [f"reply {number}" for number in range(len(asked))]
    questions = [question(text, rank) for text, rank in asked]
    askings: list[Asking] = [made.begin(each) for each in questions]
    for number in answered:
        made.keep(questions[number], askings[number], reply(replies[number]))
    made.close()
    return replies


ASKED = st.lists(
    st.tuples(st.sampled_from("ab"), st.sampled_from([None, "0", "1", "2"])), max_size=24
)


@settings(max_examples=40)
@given(ASKED, st.randoms(use_true_random=False))
def test_every_rank_is_answered_as_before_however_the_ranks_race(
    tmp_path_factory: pytest.TempPathFactory, asked: Asked, random: Any
) -> None:
    path = tmp_path_factory.mktemp("tape") / "t"
    answered = list(range(len(asked)))
    random.shuffle(answered)
    replies = record(path, asked, answered)
    # Each rank asks in its own order; who comes first among them is another matter each time.
    turns = [rank for _, rank in asked]
    random.shuffle(turns)
    own = {
        rank: [
            (text, told)
            for (text, whose), told in zip(asked, replies, strict=True)
            if whose == rank
        ]
        for rank in set(turns)
    }
    played = Player(path, log=EventList())
    for rank in turns:
        text, told = own[rank].pop(0)
        assert play(played, text, rank) == told
    for text in "ab":
        with pytest.raises(CacheMiss):
            play(played, text, "0")
    played.close()


@settings(max_examples=40)
@given(ASKED, st.lists(st.sampled_from([None, "0", "7", "8"]), min_size=24, max_size=24))
def test_whoever_asks_each_reply_is_given_once_and_his_own_first(
    tmp_path_factory: pytest.TempPathFactory, asked: Asked, ranks: list[str | None]
) -> None:
    path = tmp_path_factory.mktemp("tape") / "t"
    replies = record(path, asked, list(range(len(asked))))
    played = Player(path, log=EventList())
    given_ = [play(played, text, rank) for (text, _), rank in zip(asked, ranks, strict=False)]
    assert sorted(given_) == sorted(replies)
    strangers = [
        told
        for (text, whose), rank, told in zip(asked, ranks, given_, strict=False)
        if rank in ("7", "8") and text == "a"
    ]
    assert strangers == sorted(strangers, key=replies.index), "in the order of the recording"
    played.close()


def test_a_question_that_is_sent_again_is_the_same_asking_and_has_one_reply(
    tmp_path: Path,
) -> None:
    made = recorder(tmp_path / "t")
    first, lost, other = question("x", name="one"), question("x", name="lost"), question("x")
    for each, told in ((first, "1"), (lost, None), (first, "never"), (other, "2"), (lost, "3")):
        asking = made.begin(each)
        if told is not None:
            made.keep(each, asking, reply(told))
    made.close()
    lines = (tmp_path / "t").read_bytes().splitlines(keepends=True)[1:]
    assert sorted(read_line(line).number for line in lines) == [0, 1, 2]
    played = Player(tmp_path / "t", log=EventList())
    asked = [(None, "a"), (None, "a"), (None, "b"), (None, "a"), (None, "c"), (None, "b")]
    assert [play(played, "x", *each) for each in asked] == ["1", "1", "3", "1", "2", "3"]
    played.close()


def test_an_asking_that_was_answered_by_an_error_leaves_a_gap_and_no_miss(tmp_path: Path) -> None:
    record(tmp_path / "t", [("x", None)] * 4, [3, 1])
    played = Player(tmp_path / "t", log=EventList())
    assert [play(played, "x") for _ in range(2)] == ["reply 1", "reply 3"]
    with pytest.raises(CacheMiss, match="was recorded 2 times, and is asked once more"):
        play(played, "x")
    played.close()


def test_a_disk_that_does_not_keep_up_ends_the_recording_and_not_the_daemon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tape, "MAX_WAITING_BYTES", 1000)
    path, log = tmp_path / "t", EventList()
    made = recorder(path, log)
    for text in ("y" * 2000, "y" * 2000, "short"):
        made.keep(question("x"), made.begin(question("x")), reply(text))
    made.close()
    (event,) = log.named("recording")
    assert "does not keep up: the recording is not whole" in str(event["said"])
    assert b"short" not in path.read_bytes()


def lines_of(*parts: bytes) -> bytes:
    return first_line(version="1", unix_s=0) + b"".join(parts)


GOOD = reply_line(question("x", "3"), 0, reply("1"))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"{}\n", "is no recording"),
        (first_line(version="1", unix_s=0).replace(b":1,", b":9,"), "is no recording"),
        (lines_of(b"{}\n"), ":2: is broken"),
        (lines_of(b"[]\n"), ":2: is broken"),
        (lines_of(GOOD, b"\xff\n"), ":3: is broken"),
        (lines_of(GOOD.replace(b'"x"', b'"y"')), ":2: is broken"),
        (lines_of(GOOD.replace(b'"n":0', b'"n":-1')), ":2: is broken"),
        (lines_of(GOOD.replace(b'"by":[null,"3"]', b'"by":["3"]')), ":2: is broken"),
        (lines_of(GOOD.replace(b'"by":[null,"3"]', b'"by":[3,{}]')), ":2: is broken"),
        (lines_of(GOOD.replace(b'"provider":"p"', b'"providers":1')), ":2: is broken"),
        (lines_of(GOOD.replace(b'"reply":{', b'"reply":7,"r":{')), ":2: is broken"),
        (lines_of(GOOD, GOOD), "two replies have one request and number"),
        (lines_of(GOOD, lines_of(GOOD)), ":3: is broken"),
    ],
)
def test_what_is_no_whole_recording_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "t").write_bytes(content)
    with pytest.raises(CannotStart, match=said):
        Player(tmp_path / "t", log=EventList())


def test_a_recording_that_is_changed_while_it_is_played_is_a_miss(tmp_path: Path) -> None:
    path, log = tmp_path / "t", EventList()
    path.write_bytes(lines_of(GOOD))
    played = Player(path, log=log)
    path.write_bytes(lines_of())
    with pytest.raises(CacheMiss, match="was changed"):
        play(played, "x")
    played.close()
    assert log.named("recording")


def test_a_miss_looks_at_a_bounded_part_of_what_was_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(player, "MAX_COMPARED_BYTES", 4000)
    record(tmp_path / "t", [("near", None), ("y" * 8000, None), ("later", None)], [0, 1, 2])
    played = Player(tmp_path / "t", log=EventList())
    with pytest.raises(CacheMiss, match="'near', differs in messages"):
        play(played, "y" * 8001)
    played.close()
    long = "x" * 200_000
    asked = [question(long + str(n)).asked for n in range(30)]
    assert nearest_said(question(long + "7z").asked, asked).endswith("differs in messages[0]")
    many = [{"role": "user", "content": str(n)} for n in range(50)]
    assert "and 42 more" in nearest_said({"kind": "chat", "messages": many}, [{"kind": "chat"}])
