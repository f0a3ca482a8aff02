"""What programs send that is no plain text and no plain name: tokens, aliases, time limits."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anthropic
import httpx2
import openai
import pytest

from sutlerd.providers.counting_tiktoken import Tokenizers
from tests.contract import answers
from tests.contract.answers import Answer, Hang
from tests.integration.faults.rig import Rig
from tests.integration.http.rig import http_rig, http_socket, over_unix
from tests.integration.http.test_http_faults import CHAT, body_of, until
from tests.integration.http.test_openai_sdk import said, sdk

EMBEDDINGS = "/v1/embeddings"
SMALL = "text-embedding-3-small"


@pytest.fixture(scope="module")
def rig(module_folder: Path) -> Iterator[Rig]:
    aliases = {"fast": "scripted/test-model", "search": "test-embed", SMALL: "test-embed"}
    with http_rig(module_folder, llm={"aliases": aliases}) as running:
        yield running


def tokens_of(*texts: str, name: str = "cl100k_base") -> list[list[int]]:
    tokenizers = Tokenizers()
    tokenizers.load(name)
    encode = tokenizers._loaded[name].encode
    return [list(encode(text)) for text in texts]


def test_aliases_are_listed_and_found_like_models(rig: Rig) -> None:
    with sdk(rig) as client:
        listed = {model.id: model.owned_by for model in client.models.list()}
        assert {"fast", "search", "test-model"} <= listed.keys()
        assert listed["fast"] == listed["search"] == "scripted"
        assert client.models.retrieve("fast").id == "fast"
        reply = client.chat.completions.create(model="fast", messages=said("by alias"))
        assert reply.choices[0].message.content == "to: by alias"
        with pytest.raises(openai.NotFoundError):
            client.models.retrieve("scripted/fast")
    theirs = {"Anthropic-Version": "2023-06-01"}
    data = over_unix(rig.daemon, "GET", "/v1/models", headers=theirs).json["data"]
    assert "fast" in {model["id"] for model in data}
    one = over_unix(rig.daemon, "GET", "/v1/models/fast", headers=theirs).json
    assert (one["id"], one["type"]) == ("fast", "model")
    none = over_unix(rig.daemon, "GET", "/v1/models/slow", headers=theirs)
    assert (none.status, none.json["error"]["type"]) == (404, "not_found_error")


def test_arrays_of_tokens_are_the_texts_that_they_spell_and_one_cache_entry(rig: Rig) -> None:
    texts = ["a wagon", "größer 🚚 wagons"]
    arrays = tokens_of(*texts)
    with sdk(rig) as client:
        plain = client.embeddings.create(model=SMALL, input=texts)
        spelt = client.embeddings.create(model=SMALL, input=arrays)
        one = client.embeddings.create(model=SMALL, input=arrays[0])
    assert [each.embedding for each in spelt.data] == [each.embedding for each in plain.data]
    assert [each.embedding for each in one.data] == [plain.data[0].embedding]
    assert rig.asked(texts[0]) == 1


def test_a_prompt_of_tokens_is_completed(rig: Rig) -> None:
    (tokens,) = tokens_of("one prompt of tokens")
    named = {"X-Sutler-Tokenizer": "cl100k_base"}
    with sdk(rig) as client:
        reply = client.completions.create(model="test-model", prompt=tokens, extra_headers=named)
        many = client.completions.create(
            model="test-model", prompt=[tokens, tokens], extra_headers=named
        )
    assert [choice.text for choice in reply.choices] == ["to: one prompt of tokens"]
    assert [choice.text for choice in many.choices] == ["to: one prompt of tokens"] * 2


def test_tokens_that_cannot_be_read_are_refused_with_the_mend(rig: Rig) -> None:
    def refused(model: str, given: Any, headers: dict[str, str] | None = None) -> str:
        body = {"model": model, "input": given}
        reply = over_unix(rig.daemon, "POST", EMBEDDINGS, body, headers)
        assert reply.status == 400, reply.json
        assert reply.json["error"]["type"] == "invalid_request_error"
        return str(reply.json["error"]["message"])

    assert "check_embedding_ctx_length=False" in refused("test-embed", [1, 2, 3])
    assert "x-sutler-tokenizer: cl100k_base" in refused("test-embed", [[1, 2], [3]])
    assert "must be one of" in refused("test-embed", [1], {"X-Sutler-Tokenizer": "mine"})
    assert "none of cl100k_base" in refused(SMALL, [2**31])
    assert "control token" in refused(SMALL, [100257])
    assert "within a character" in refused(SMALL, tokens_of("🚚")[0][:1])
    for given in ([1, "two"], [[1], "two"], [True], [-1], [[]], [[[1]]], [1.5]):
        assert "list of texts" in refused(SMALL, given)


def test_who_leaves_by_an_sdks_own_time_limit_takes_the_call_along(rig: Rig) -> None:
    rig.answers["never answered"] = Answer((Hang(),), 9, 0)
    # Without its word to the daemon, which would end the call by itself.
    unsaid = dict.fromkeys(("X-Stainless-Read-Timeout", "X-Stainless-Timeout"), openai.Omit())
    with sdk(rig) as client, pytest.raises(openai.APITimeoutError):
        client.with_options(timeout=0.5).chat.completions.create(
            model="test-model", messages=said("never answered"), extra_headers=unsaid
        )
    rig.wait_until_asked("never answered")
    until(rig, "calls_open", 0)
    transport = httpx2.HTTPTransport(uds=str(http_socket(rig.daemon)))
    with (
        anthropic.Anthropic(
            base_url="http://localhost",
            api_key="none",
            max_retries=0,
            http_client=httpx2.Client(transport=transport),
        ) as other,
        pytest.raises(anthropic.APITimeoutError),
    ):
        other.messages.create(
            model="test-model",
            max_tokens=5,
            messages=[{"role": "user", "content": "never answered, either"}],
            timeout=0.5,
            extra_headers=dict.fromkeys(unsaid, anthropic.Omit()),
        )
    rig.wait_until_asked("never answered, either")
    until(rig, "calls_open", 0)
    assert rig.daemon.log().count("outcome=cancelled") >= 2
    rig.answers.clear()


def test_a_time_limit_in_a_header_ends_a_call_with_a_typed_error(rig: Rig) -> None:
    rig.answers["unanswered"] = Answer((Hang(),), 9, 0)
    began_s = time.monotonic()
    # What an SDK says of itself counts with a second's grace, of whole answers only.
    for path, header, seconds in (
        (CHAT, "X-Sutler-Timeout", "0.3"),
        ("/v1/messages", "X-Stainless-Read-Timeout", "0.1"),
    ):
        body = body_of(f"unanswered {header}", max_tokens=5)
        reply = over_unix(rig.daemon, "POST", path, body, {header: seconds})
        assert reply.status == 504
        assert reply.headers["x-sutler-error"] == "timeout"
        assert reply.headers["x-should-retry"] == "false"
        assert reply.json["error"]["type"] == "timeout_error"
    assert time.monotonic() - began_s >= 0.3 + 1.1
    for bad in ("soon", "0", "-1", "nan", "inf"):
        reply = over_unix(rig.daemon, "POST", CHAT, body_of("x"), {"X-Sutler-Timeout": bad})
        assert (reply.status, "x-sutler-timeout" in reply.json["error"]["message"]) == (400, True)
    rig.answers.clear()
    odd = {"X-Stainless-Read-Timeout": "NOT_GIVEN", "X-Stainless-Timeout": "600"}
    assert over_unix(rig.daemon, "POST", CHAT, body_of("y"), odd).status == 200


def test_an_sdks_time_limit_for_each_piece_does_not_end_a_long_stream(rig: Rig) -> None:
    pieces = [f"{number} " for number in range(8)]
    slowly = answers.openai_stream(pieces, between=[answers.Wait(0.2)] * 7)
    rig.answers["piece by piece"] = slowly
    limit = {"X-Stainless-Read-Timeout": "0.1"}
    body = body_of("piece by piece", stream=True)
    events = over_unix(rig.daemon, "POST", CHAT, body, limit).events()
    assert events[-1][1] == "[DONE]"
    rig.answers.clear()
