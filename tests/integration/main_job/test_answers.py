"""Calls through the real client, the real socket and the real daemon."""

from __future__ import annotations

import threading
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import sutler
from tests.contract.answers import openai_chat, openai_error
from tests.contract.scripted import ScriptedProvider
from tests.integration.main_job.conftest import StartDaemon
from tests.support.daemon_process import DaemonProcess


@pytest.fixture
def client(daemon: DaemonProcess) -> Iterator[sutler.Client]:
    """Each test asks questions of its own: the daemon is the module's."""
    with sutler.Client(str(daemon.socket)) as connected:
        yield connected


def test_client_complete(client: sutler.Client, provider: ScriptedProvider) -> None:
    reply = client.complete([{"role": "user", "content": "one"}], temperature=0.0, max_tokens=7)
    assert reply.content == "reply to one"
    assert (reply.model, reply.provider, reply.finish_reason) == ("test-model", "scripted", "stop")
    assert (reply.usage.prompt_tokens, reply.usage.completion_tokens) == (9, 3)
    assert not reply.cached
    (asked,) = provider.requests
    assert asked.json["messages"] == [{"role": "user", "content": "one"}]
    assert asked.json["max_tokens"] == 7
    assert asked.headers["authorization"] == "Bearer not-a-real-key-1234"


def test_client_chat(client: sutler.Client, provider: ScriptedProvider) -> None:
    assert client.chat("two", "Be brief.") == "reply to two"
    assert provider.requests[0].json["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "two"},
    ]


def test_cache_hit_miss(client: sutler.Client, provider: ScriptedProvider) -> None:
    before = client.cache_stats()["entries"]
    first, second = client.complete("three"), client.complete("three")
    other = client.complete("four")
    assert [reply.cached for reply in (first, second, other)] == [False, True, False]
    assert second.content == first.content
    assert second.usage.to_dict() == first.usage.to_dict()
    assert len(provider.requests) == 2
    assert client.cache_stats()["entries"] == before + 2


def test_default_max_tokens_is_sent_and_part_of_the_key(
    client: sutler.Client, provider: ScriptedProvider
) -> None:
    client.complete("five")
    assert provider.requests[0].json["max_tokens"] == 4096
    assert client.complete("five", max_tokens=4096).cached
    assert not client.complete("five", max_tokens=4095).cached


def test_what_only_addresses_or_labels_a_call_is_no_part_of_the_key(client: sutler.Client) -> None:
    client.complete("six")
    assert client.complete(
        "six", labels={"rank": "7"}, lane="background", timeout_s=9.5, metadata={"a": 1}
    ).cached
    assert client.complete([{"role": "user", "content": "six"}]).cached


@pytest.mark.parametrize(
    ("options", "cacheable"),
    [
        ({}, True),
        ({"temperature": 0.3}, True),
        ({"temperature": 0.31}, False),
        ({"temperature": 0.9, "sample": 1}, True),
        ({"temperature": 0.9, "cache": "on"}, True),
        ({"cache": "off"}, False),
        ({"cache_ttl_s": 0}, False),
    ],
)
def test_what_is_cacheable(client: sutler.Client, options: dict[str, Any], cacheable: bool) -> None:
    client.complete(f"seven {options}", **options)
    assert client.complete(f"seven {options}", **options).cached == cacheable


@pytest.mark.parametrize(
    ("tokens_out", "stored"), [(50, True), (49, True), (12, False)], ids=["its own", "near", "less"]
)
def test_a_cut_answer_is_stored_only_if_the_call_itself_cut_it(
    client: sutler.Client, provider: ScriptedProvider, tokens_out: int, stored: bool
) -> None:
    """Otherwise the model's context was full, and a wider one gives another answer."""
    provider.queue.append(openai_chat("so far", finish_reason="length", tokens_out=tokens_out))
    prompt = f"seven and a half, {tokens_out}"
    assert client.complete(prompt, max_tokens=50).finish_reason == "length"
    assert client.complete(prompt, max_tokens=50).cached == stored


def test_samples_of_one_prompt_are_answers_of_their_own(
    client: sutler.Client, provider: ScriptedProvider
) -> None:
    for _ in range(2):
        for sample in (1, 2, 3):
            client.complete("eight", temperature=1.0, sample=sample)
    assert len(provider.requests) == 3


def test_the_modes_of_the_cache(client: sutler.Client, provider: ScriptedProvider) -> None:
    with pytest.raises(sutler.CacheMiss):
        client.complete("nine", cache="only")
    assert not client.complete("nine", cache="read_only").cached
    assert not client.complete("nine", cache="read_only").cached
    assert not client.complete("nine", cache="write_only").cached
    assert not client.complete("nine", cache="write_only").cached
    assert client.complete("nine", cache="read_only").cached
    assert client.complete("nine", cache="only").cached
    assert len(provider.requests) == 4


def test_a_stream_and_a_plain_call_share_one_stored_reply(
    client: sutler.Client, provider: ScriptedProvider
) -> None:
    with client.stream("ten") as streamed:
        pieces = [chunk.content for chunk in streamed]
        whole = streamed.result
    assert pieces == ["reply ", "to ", "ten"]
    assert client.complete("ten").content == whole.content == "reply to ten"
    assert client.complete("eleven").content == "reply to eleven"
    with client.stream("eleven") as replayed:
        assert "".join(chunk.content for chunk in replayed) == "reply to eleven"
        assert replayed.result.cached
        assert replayed.result.usage.completion_tokens == 3
    assert len(provider.requests) == 2


def test_the_cache_outlives_the_daemon(
    start: StartDaemon, provider: ScriptedProvider, folder: Path
) -> None:
    daemon = start("kept")
    with sutler.Client(str(daemon.socket)) as client:
        client.complete("twelve")
    assert daemon.stop() == 0
    daemon.start()
    with sutler.Client(str(daemon.socket)) as client:
        assert client.complete("twelve").cached
    assert len(provider.requests) == 1


def test_equal_questions_asked_at_once_cost_one_call(
    daemon: DaemonProcess, provider: ScriptedProvider
) -> None:
    barrier, replies = threading.Barrier(16), []

    def ask() -> None:
        with sutler.Client(str(daemon.socket)) as client:
            barrier.wait()
            replies.append(client.complete("thirteen"))

    threads = [threading.Thread(target=ask) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {reply.content for reply in replies} == {"reply to thirteen"}
    assert len(provider.requests) == 1
    assert sum(not (reply.cached or reply.coalesced) for reply in replies) == 1


def test_embeddings_are_cached_text_by_text(
    client: sutler.Client, provider: ScriptedProvider
) -> None:
    first = client.embed(["a", "bb"])
    assert list(first.rows) == [array("f", [1.0, 1.0]), array("f", [2.0, 1.0])]
    second = client.embed(["bb", "ccc", "a"])
    assert [row[0] for row in second.rows] == [2.0, 3.0, 1.0]
    assert second.cached == 2
    assert [request.json["input"] for request in provider.requests] == [["a", "bb"], ["ccc"]]


def test_an_answer_is_given_again_under_its_request_id_and_no_other_question(
    client: sutler.Client, provider: ScriptedProvider
) -> None:
    first = client.complete("fourteen", temperature=1.0, request_id="mine-1")
    again = client.complete("fourteen", temperature=1.0, request_id="mine-1")
    assert again.content == first.content
    assert len(provider.requests) == 1
    with pytest.raises(sutler.InvalidParams, match="request_id"):
        client.complete("fifteen", request_id="mine-1")


@pytest.mark.fault("O6")
def test_an_answer_that_was_bought_is_not_bought_again_after_a_kill(
    start: StartDaemon, provider: ScriptedProvider
) -> None:
    daemon = start("killed")
    with sutler.Client(str(daemon.socket)) as client:
        client.complete("sixteen", temperature=1.0, request_id="mine-2")
    daemon.kill()
    daemon.start()
    with sutler.Client(str(daemon.socket)) as client:
        assert client.complete("sixteen", temperature=1.0, request_id="mine-2").content
    assert len(provider.requests) == 1


def test_a_failed_first_choice_is_answered_by_the_next_provider_in_the_chain(
    start: StartDaemon, provider: ScriptedProvider
) -> None:
    with ScriptedProvider.in_thread(always=openai_error(401, "no")) as refusing:
        daemon = start(
            llm="fallback_providers: [second]",
            config=(
                "    second:\n      kind: openai_compatible\n"
                f"      base_url: {refusing.base_url}\n      default_model: other-model\n"
                "      api_key: another-key-5678\n"
            ),
        )
        with sutler.Client(str(daemon.socket)) as client:
            reply = client.complete("x", provider="second", fallback=["scripted"])
        assert reply.provider == "scripted"
        outcomes = [attempt["outcome"] for attempt in reply.trace["attempts"]]
        assert outcomes[-1] == "ok"
        assert len(outcomes) == 2
        assert len(refusing.requests) == 1


def test_users_own_numbers_and_hits_are_told(daemon: DaemonProcess) -> None:
    with sutler.Client(str(daemon.socket)) as client:
        before = client.status()
        client.complete("y")
        client.complete("y")
        after = client.status()
    told = [status["answers"]["cached"] for status in (before, after)]
    assert told[1] == told[0] + 1
    attempts = [status["providers"]["scripted"]["attempts"] for status in (before, after)]
    assert attempts[1] == attempts[0] + 1
