"""Recordings: one form for each request, and a file that is whole or says that it is not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sutlerd.domain.errors import CacheMiss
from sutlerd.pipeline import tape
from sutlerd.pipeline.recording import canonical, key_of
from sutlerd.pipeline.tape import Player, Recorder
from tests.support.event_list import EventList
from tests.support.virtual_clock import VirtualClock

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def asked(text: str, **more: Any) -> dict[str, Any]:
    return canonical("chat", more, messages=[{"role": "user", "content": text}])


@given(st.dictionaries(st.text(), JSON, max_size=6))
def test_the_order_in_which_a_request_is_written_does_not_matter(given_: dict[str, Any]) -> None:
    backwards = dict(reversed(given_.items()))
    assert key_of(canonical("chat", given_)) == key_of(canonical("chat", backwards))


def test_what_only_addresses_or_labels_a_request_is_no_part_of_it() -> None:
    addressed = asked("x", request_id="r", labels={"rank": "1"}, lane="background", cache="off")
    assert addressed == asked("x", timeout_s=3, stream=True, fallback=False, metadata={}, seed=None)
    assert key_of(addressed) != key_of(asked("x", seed=1))


@given(st.lists(st.tuples(st.sampled_from("abc"), st.text()), max_size=20))
def test_each_request_is_given_its_replies_in_their_order(
    tmp_path_factory: pytest.TempPathFactory, replies: list[tuple[str, str]]
) -> None:
    path = tmp_path_factory.mktemp("tape") / "t"
    recorder = Recorder(path, version="1", clock=VirtualClock(), log=EventList())
    for text, reply in replies:
        recorder.keep(asked(text), json.dumps({"content": reply}).encode())
    recorder.close()
    player = Player(path, log=EventList())
    for text in "abc":
        for reply in [reply for each, reply in replies if each == text]:
            played = player.play(asked(text), uid=1, request_id=None)
            assert json.loads(played) == {"content": reply}
        with pytest.raises(CacheMiss):
            player.play(asked(text), uid=1, request_id=None)
    player.close()


def test_a_disk_that_does_not_keep_up_ends_the_recording_and_not_the_daemon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tape, "MAX_WAITING_BYTES", 1000)
    path, log = tmp_path / "t", EventList()
    recorder = Recorder(path, version="1", clock=VirtualClock(), log=log)
    for _ in range(3):
        recorder.keep(asked("x"), b'{"content":"%b"}' % (b"y" * 2000))
    recorder.keep(asked("short"), b"{}")
    recorder.close()
    (event,) = log.named("recording")
    assert "does not keep up: the recording is not whole" in str(event["said"])
    assert b"short" not in path.read_bytes()
