"""Who asks is who the kernel says; what one user asked is nothing of another's."""

from __future__ import annotations

import array
import os
import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.contract import answers
from tests.integration.faults.rig import Rig, held, let_others_in, serving
from tests.support.other_user import OTHER_UID, as_user, needs_root
from tests.support.wire_client import Line, WireClient, request_line

_SHARED = {"daemon": {"socket_mode": "0666"}}
_THIRD_UID = OTHER_UID + 1


def _as_other(rig: Rig, method: str, /, **params: Any) -> Line:
    """Ask as another user, and give the whole reply."""
    path = rig.daemon.socket

    def ask() -> Line:
        with WireClient(path) as client:
            return client.ask(method, **params)

    return as_user(OTHER_UID, ask)


def _kind(reply: Line) -> str:
    kind: str = reply["error"]["data"]["type"]
    return kind


@needs_root
@pytest.mark.fault("X1")
def test_the_sockets_mode_keeps_others_out(tmp_path: Path) -> None:
    with serving(tmp_path) as rig:
        let_others_in(rig.daemon.socket.parent)
        with pytest.raises(PermissionError):
            _as_other(rig, "ping")


@needs_root
@pytest.mark.fault("X1")
def test_who_is_not_listed_is_told_so_and_counted(tmp_path: Path) -> None:
    with serving(tmp_path, access={"users": [str(_THIRD_UID)]}, **_SHARED) as rig:
        let_others_in(rig.daemon.socket.parent)
        path = rig.daemon.socket

        def connect() -> Line:
            with WireClient(path) as client:
                line = client.line()
                assert client.is_closed()
                return line

        # Neither uid is in any user database; one of them is listed all the same.
        refused = as_user(OTHER_UID, connect)
        assert _kind(refused) == "access_denied"
        assert str(OTHER_UID) in refused["error"]["message"]

        def ask() -> Line:
            with WireClient(path) as client:
                return client.ask("ping")

        assert as_user(_THIRD_UID, ask)["result"] == {}
        assert rig.status()["connections_refused"] == 1
        assert f"uid={OTHER_UID}" in rig.daemon.log()


@needs_root
@pytest.mark.fault("X1")
def test_a_socket_handed_to_another_keeps_the_identity_of_its_connect(tmp_path: Path) -> None:
    with serving(tmp_path, **_SHARED) as rig, rig.client() as client:

        def ask() -> Line:
            return client.result("hello")

        assert as_user(OTHER_UID, ask)["caller"]["uid"] == 0


@pytest.mark.fault("X1")
def test_descriptors_sent_along_are_dropped(tmp_path: Path) -> None:
    with serving(tmp_path) as rig, rig.client() as client:
        before = rig.status()["process"]["descriptors"]
        for number in range(50):
            with open(os.devnull) as some:
                rights = array.array("i", [some.fileno()] * 4)
                client.socket.sendmsg(
                    [request_line("ping", number)],
                    [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)],
                )
            assert client.line()["result"] == {}
        assert rig.status()["process"]["descriptors"] <= before + 2


@needs_root
@pytest.mark.fault("X6")
def test_what_one_user_asked_is_a_first_ask_of_another(tmp_path: Path) -> None:
    with serving(tmp_path, **_SHARED) as rig, rig.client() as client:
        let_others_in(rig.daemon.socket.parent)
        question = {"prompt": "a shared question"}
        client.result("chat", **question)
        assert client.result("chat", **question)["cached"] is True
        assert _kind(_as_other(rig, "chat", **question, cache="only")) == "cache_miss"
        first = _as_other(rig, "chat", **question)["result"]
        assert (first["cached"], first["coalesced"]) == (False, False)
        assert _as_other(rig, "chat", **question)["result"]["cached"] is True
        assert rig.asked("a shared question") == 2
        sample = client.result("chat", **question, sample=3, temperature=1.0)
        assert sample["cached"] is False
        other = _as_other(rig, "chat", **question, sample=3, temperature=1.0)["result"]
        assert other["cached"] is False
        texts = {"texts": ["one text"]}
        assert client.result("embed", **texts)["cached"] == 0
        assert client.result("embed", **texts)["cached"] == 1
        assert _as_other(rig, "embed", **texts)["result"]["cached"] == 0


@needs_root
@pytest.mark.fault("X6")
@pytest.mark.parametrize("stream", [False, True])
def test_what_one_user_has_under_way_is_not_joined_by_another(tmp_path: Path, stream: bool) -> None:
    with serving(tmp_path, **_SHARED) as rig, rig.client() as client:
        let_others_in(rig.daemon.socket.parent)
        said = answers.openai_stream(["own"]) if stream else answers.openai_chat("own")
        rig.answers["under way"] = held("gate", said)
        asked = client.send("complete", prompt="under way", stream=stream, request_id="same")
        rig.wait_until_asked("under way")
        replies: list[Line] = []
        question = {"prompt": "under way", "stream": stream, "request_id": "same"}
        other = threading.Thread(
            target=lambda: replies.append(_as_other(rig, "complete", **question))
        )
        other.start()
        rig.wait_until_asked("under way", times=2)
        rig.provider.open("gate")
        other.join()
        mine = client.final(asked)[1]["result"]
        theirs = replies[0]["result"]
        assert mine["coalesced"] is theirs["coalesced"] is False
        assert mine["cached"] is theirs["cached"] is False


@needs_root
@pytest.mark.fault("X6")
@pytest.mark.fault("X18")
def test_users_see_and_clear_their_own_and_operators_everyones(tmp_path: Path) -> None:
    with serving(tmp_path, **_SHARED) as rig, rig.client() as client:
        let_others_in(rig.daemon.socket.parent)
        client.result("chat", prompt="of root")
        _as_other(rig, "chat", prompt="of the other")
        for method in ("cache.stats", "cache.clear"):
            denied = _as_other(rig, method, everyone=True)
            assert _kind(denied) == "access_denied"
        assert f"uid={OTHER_UID}" in rig.daemon.log()
        _settled(rig)
        assert _as_other(rig, "cache.stats")["result"]["entries"] == 1
        assert client.result("cache.stats", everyone=True)["entries"] == 3
        shown = _as_other(rig, "status")["result"]
        assert {each["uid"] for each in shown["callers"]} == {OTHER_UID}
        assert shown["process"] is None
        assert shown["answers"]["errors"] is None
        assert _as_other(rig, "cache.clear")["result"] == {"cleared": 1}
        assert client.result("chat", prompt="of root")["cached"] is True
        assert client.result("cache.clear", everyone=True)["cleared"] >= 1
        assert client.result("chat", prompt="the probe: asked before")["cached"] is False


@needs_root
@pytest.mark.fault("X6")
def test_a_providers_words_about_ones_call_are_not_shown_to_another(tmp_path: Path) -> None:
    llm = {"circuit": {"least_calls": 2}, "max_retries": 0}
    with serving(tmp_path, llm=llm, **_SHARED) as rig, rig.client() as client:
        let_others_in(rig.daemon.socket.parent)
        ask = {"model": "scripted/another-model", "cache": "off"}
        for status in (400, 503, 503, 503):
            quoted = f"cannot do my secret diagnosis {status}"
            rig.answers["diagnosis"] = answers.openai_error(status, quoted)
            told = client.ask("chat", prompt="my secret diagnosis", **ask)["error"]["message"]
            assert quoted in told or "left alone" in told
            assert "diagnosis" in str(client.result("status")["providers"])
            shown = _as_other(rig, "status")["result"]
            assert "diagnosis" not in str(shown)
            assert shown["providers"]["scripted"]["last_failure"]["kind"] == f"http_{status}"
        refused = str(_as_other(rig, "chat", prompt="mine", **ask))
        assert "left alone after: HTTP 503" in refused
        assert "diagnosis" not in refused


def _settled(rig: Rig) -> None:
    while rig.status()["cache"]["queued_writes"]:
        pass


@needs_root
@pytest.mark.fault("X6")
def test_an_operator_may_have_users_share_and_then_they_do(tmp_path: Path) -> None:
    with serving(tmp_path, llm={"cache": {"scope": "node"}}, **_SHARED) as rig:
        let_others_in(rig.daemon.socket.parent)
        rig.daemon.result("chat", prompt="for all")
        assert _as_other(rig, "chat", prompt="for all")["result"]["cached"] is True
        assert rig.asked("for all") == 1


@needs_root
@pytest.mark.fault("X6")
def test_a_request_id_of_one_user_says_nothing_to_another(tmp_path: Path) -> None:
    with serving(tmp_path, **_SHARED) as rig:
        let_others_in(rig.daemon.socket.parent)
        rig.daemon.result("chat", prompt="mine", request_id="r-1", temperature=1.0)
        other = _as_other(rig, "chat", prompt="theirs", request_id="r-1", temperature=1.0)
        assert other["result"]["content"] == "to: theirs"
