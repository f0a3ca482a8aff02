"""The scripted provider itself: other tests believe what it says."""

from __future__ import annotations

import socket
import urllib.request
from pathlib import Path

import pytest

from tests.contract import answers
from tests.contract.scripted import ScriptedProvider
from tests.contract.scripted_process import ProviderProcess


def _post(url: str, body: bytes = b"{}") -> bytes:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(urllib.request.Request(url, data=body), timeout=20) as answer:
        return bytes(answer.read())


def _asking(provider: ScriptedProvider) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", provider.port))
    sock.sendall(b"POST /v1/x HTTP/1.1\r\ncontent-length: 0\r\n\r\n")
    return sock


def test_it_answers_from_its_queue_counts_and_bills() -> None:
    with ScriptedProvider.in_thread() as provider:
        provider.queue.append(answers.openai_chat("first", tokens_in=7, tokens_out=2))
        assert b"first" in _post(provider.base_url + "/chat/completions", b'{"n": 1}')
        assert b'"4"' in _post(provider.base_url + "/chat/completions")
        assert [request.json for request in provider.requests] == [{"n": 1}, {}]
        assert provider.billed_tokens() == (16, 5)
        provider.wait_until(lambda: provider.open_connections == 0)
        assert provider.connections == 2


def test_a_gate_holds_an_answer_until_the_test_opens_it() -> None:
    held = answers.Answer((answers.Gate("a"), *answers.openai_chat().steps))
    with ScriptedProvider.in_thread(always=held) as provider, _asking(provider) as sock:
        provider.wait_until(lambda: len(provider.requests) == 1)
        provider.open("a")
        assert sock.recv(12) == b"HTTP/1.1 200"


def test_it_notes_that_the_peer_hung_up() -> None:
    with ScriptedProvider.in_thread(always=answers.Answer((answers.Hang(),))) as provider:
        with _asking(provider):
            provider.wait_until(lambda: len(provider.requests) == 1)
        provider.wait_until(lambda: provider.hangups == 1)


def test_a_reset_is_a_reset() -> None:
    scripted = ScriptedProvider.in_thread(always=answers.Answer((answers.Reset(),)))
    with scripted as provider, _asking(provider) as sock, pytest.raises(ConnectionResetError):
        sock.recv(1)


def test_answers_survive_the_way_through_a_control_file() -> None:
    answer = answers.openai_stream(between=(answers.Gate("g"), answers.Reset()))
    assert answers.Answer.from_json(answer.to_json()) == answer


def test_as_a_process_it_is_steered_by_a_file_and_journals_before_it_answers(
    tmp_path: Path,
) -> None:
    with ProviderProcess(tmp_path) as provider:
        assert b'"4"' in _post(provider.base_url + "/chat/completions")
        provider.script(queue=[answers.openai_chat("once", tokens_in=1, tokens_out=1)])
        assert b"once" in _post(provider.base_url + "/chat/completions")
        assert b'"4"' in _post(provider.base_url + "/chat/completions")
        bill = [(line["tokens_in"], line["tokens_out"]) for line in provider.journal()]
        assert bill == [(9, 3), (1, 1), (9, 3)]
