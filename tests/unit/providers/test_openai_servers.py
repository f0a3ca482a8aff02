"""What is special about each server that speaks OpenAI's chat completions."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sutlerd.config.presets import PRESETS
from sutlerd.domain.call import ChatRequest, EmbedRequest
from sutlerd.domain.errors import InvalidParams
from sutlerd.domain.reply import Delta, Reply
from sutlerd.providers.contract import AttemptFailed, BuiltRequest, Outcome, Verdict
from sutlerd.providers.dialect import ModelTraits
from sutlerd.providers.kinds import KINDS, OPENAI_KINDS
from sutlerd.providers.openai_chat import OpenAIChat
from sutlerd.providers.transport import Response

ASK = {"role": "user", "content": "JSON please", "name": "ann"}
TOOL = {"name": "add", "parameters": {"type": "object"}}
NOW_S = 1_800_000_000.0


def dialect(kind: str) -> OpenAIChat:
    return OpenAIChat(provider=kind, switches=OPENAI_KINDS[kind])


def build(kind: str, *messages: dict[str, Any], **fields: Any) -> BuiltRequest:
    request = ChatRequest(messages=messages or (ASK,), **{"max_tokens": 9, **fields})
    return dialect(kind).build_chat(request, "m", ModelTraits())


def answer(body: object, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    data = json.dumps(body).encode()
    return Response(status=status, headers=headers or {}, body=data, arrived_unix_s=NOW_S)


def judged(kind: str, body: object, status: int, **headers: str) -> AttemptFailed:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return dialect(kind).classify(answer(body, status, named))


def streamed(kind: str, data: bytes) -> list[Delta | Reply]:
    reader = dialect(kind).open_stream(build(kind))
    return [*reader.feed(data), *reader.eof()]


def test_every_kind_with_a_served_dialect_has_an_entry() -> None:
    spoken = {"openai_chat", "ollama", "voyage"}
    kinds = {kind for kind, preset in PRESETS.items() if preset.dialect in spoken}
    assert kinds - {"embedded"} <= set(KINDS)


# --- Groq -----------------------------------------------------------------------------


def test_groq_is_sent_no_names_and_nothing_else_that_it_refuses() -> None:
    built = build("groq", temperature=0.0)
    assert "name" not in built.body["messages"][0]
    assert (built.dropped, built.body["temperature"]) == (("name",), 0.0)
    for field in ("logit_bias", "logprobs", "top_logprobs"):
        with pytest.raises(InvalidParams, match=rf"params\.extra\.{field}: Groq refuses it"):
            build("groq", extra={field: 1})
    with pytest.raises(InvalidParams, match="set by the daemon"):
        build("groq", extra={"n": 2})
    with pytest.raises(InvalidParams, match="no embeddings"):
        dialect("groq").build_embed(EmbedRequest(texts=("a",)), "m", ModelTraits())


def test_groq_counts_requests_by_the_day_and_has_a_status_of_its_own_for_no_room() -> None:
    headers = {
        "x-ratelimit-limit-requests": "14400",
        "x-ratelimit-remaining-requests": "14370",
        "x-ratelimit-reset-requests": "2m59.56s",
        "x-ratelimit-limit-tokens": "18000",
        "x-ratelimit-remaining-tokens": "17997",
        "x-ratelimit-reset-tokens": "7.66s",
    }
    view = dialect("groq").limits(answer({}, headers=headers))
    assert view is not None
    assert set(view.limits) == {"requests_per_day", "tokens"}
    assert view.limits["requests_per_day"].reset_s == pytest.approx(179.56)
    full = judged("groq", {"error": {"message": "full", "code": "capacity_exceeded"}}, 498)
    assert (full.verdict, full.outcome) == (Verdict.RETRY, Outcome.NOT_BILLED)


def test_groq_s_usage_in_its_own_corner_of_a_stream_counts() -> None:
    chunk = {
        "choices": [{"index": 0, "delta": {"content": "4"}, "finish_reason": "stop"}],
        "x_groq": {"usage": {"prompt_tokens": 3, "completion_tokens": 1}},
    }
    reply = streamed("groq", b"data: " + json.dumps(chunk).encode() + b"\n\ndata: [DONE]\n\n")[-1]
    assert isinstance(reply, Reply)
    assert reply.usage.total_tokens == 4


# --- Mistral --------------------------------------------------------------------------


def test_mistral_has_words_of_its_own_and_takes_no_field_it_does_not_know() -> None:
    call = {"id": "call_0123456789", "type": "function"}
    call["function"] = {"name": "add", "arguments": "{}"}  # type: ignore[assignment]
    built = build(
        "mistral",
        ASK,
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "content": "2", "tool_call_id": "call_0123456789"},
        seed=7,
        user="u",
        functions=(TOOL,),
        function_call="required",
    )
    assert (built.body["random_seed"], built.body["tool_choice"]) == (7, "any")
    assert not {"seed", "user"} & set(built.body)
    assert built.dropped == ("name", "user")
    _, said, result = built.body["messages"]
    (short,) = {said["tool_calls"][0]["id"], result["tool_call_id"]}
    assert (len(short), short.isalnum()) == (9, True)
    assert call["id"] == "call_0123456789"
    assert "stream_options" not in dialect("mistral").stream_body(built.body)


def test_mistral_s_ids_of_its_own_stay_and_its_problems_are_told_with_their_place() -> None:
    result = {"role": "tool", "content": "2", "tool_call_id": "D681PevKs"}
    (message,) = build("mistral", result).body["messages"]
    assert message["tool_call_id"] == "D681PevKs"
    detail = [{"loc": ["body", "temperature"], "msg": "too hot"}]
    failure = judged("mistral", {"detail": detail}, 422)
    assert failure.verdict is Verdict.REFUSED
    assert "body.temperature: too hot" in failure.message


# --- Gemini ---------------------------------------------------------------------------


def test_gemini_s_calls_count_whatever_its_reason_says() -> None:
    call = {"id": "", "function": {"name": "add", "arguments": "{}"}}
    message = {"content": None, "tool_calls": [call]}
    body = {"choices": [{"finish_reason": "stop", "message": message}]}
    reply = dialect("gemini").read_reply(build("gemini"), answer(body))
    assert reply.finish_reason == "tool_calls"
    assert reply.tool_calls[0].id


# --- OpenRouter -----------------------------------------------------------------------


def test_openrouter_s_errors_at_200_and_its_resets_in_milliseconds_are_understood() -> None:
    body = {"error": {"code": 502, "message": "upstream", "metadata": {}}}
    with pytest.raises(AttemptFailed, match="upstream") as raised:
        dialect("openrouter").read_reply(build("openrouter"), answer(body))
    assert raised.value.verdict is Verdict.RETRY
    headers = {
        "x-ratelimit-limit": "20",
        "x-ratelimit-remaining": "0",
        "x-ratelimit-reset": f"{(NOW_S + 30) * 1000:.0f}",
    }
    view = dialect("openrouter").limits(answer({}, headers=headers))
    assert view is not None
    assert view.limits["requests"].reset_s == pytest.approx(30)
    chunk = {"choices": [{"delta": {"content": ""}, "finish_reason": "error"}]}
    data = b": OPENROUTER PROCESSING\n\ndata: " + json.dumps(chunk).encode() + b"\n\n"
    with pytest.raises(AttemptFailed, match="broke off"):
        streamed("openrouter", data)


@pytest.mark.fault("P4")
def test_no_credit_is_final_but_where_openrouter_says_when_to_come_back() -> None:
    body = {"error": {"code": 402, "message": "no credits"}}
    assert judged("openrouter", body, 402).verdict is Verdict.CLOSED
    paused = judged("openrouter", body, 402, retry_after="9")
    assert (paused.verdict, paused.retry_after_s) == (Verdict.RETRY, 9.0)
    assert judged("deepseek", body, 402, retry_after="9").verdict is Verdict.CLOSED


# --- DeepSeek -------------------------------------------------------------------------


def test_deepseek_is_told_of_a_schema_in_words_and_its_empty_lines_are_nothing() -> None:
    built = build("deepseek", seed=1, user="u", schema={"type": "object"})
    assert built.body["response_format"] == {"type": "json_object"}
    assert "JSON Schema" in built.body["messages"][0]["content"]
    assert set(built.dropped) == {"seed", "user"}
    usage = {"prompt_tokens": 5, "completion_tokens": 1, "prompt_cache_hit_tokens": 4}
    message = {"content": "4", "reasoning_content": "hm"}
    body = {"choices": [{"finish_reason": "stop", "message": message}], "usage": usage}
    kept = Response(status=200, headers={}, body=b"\n\n\n" + json.dumps(body).encode())
    reply = dialect("deepseek").read_reply(built, kept)
    assert (reply.content, reply.reasoning, reply.usage.cached_tokens_in) == ("4", "hm", 4)
    chunk = {"choices": [{"delta": {"content": "4"}, "finish_reason": "stop"}]}
    data = b": keep-alive\n\n" * 3 + b"data: " + json.dumps(chunk).encode() + b"\n\n"
    assert isinstance(streamed("deepseek", data)[-1], Reply)


# --- vLLM -----------------------------------------------------------------------------


def test_vllm_s_older_fields_are_answered_with_the_newer_one() -> None:
    with pytest.raises(InvalidParams, match=r'guided_regex: say structured_outputs: \{"regex"'):
        build("vllm", extra={"guided_regex": "a+"})
    newer = {"structured_outputs": {"regex": "a+"}, "top_k": 3}
    assert newer.items() <= build("vllm", extra=newer).body.items()
    body = {"error": {"message": "bad", "type": "BadRequestError", "code": 400}}
    assert judged("vllm", body, 400).verdict is Verdict.REFUSED
    old = {"object": "error", "message": "This model's maximum context length is 8 tokens"}
    assert judged("vllm", old, 400).verdict is Verdict.TOO_LONG


# --- Together, llama.cpp --------------------------------------------------------------


def test_together_s_two_families_of_headers_are_one_shape() -> None:
    headers = {
        "x-ratelimit-limit": "10",
        "x-ratelimit-remaining": "9",
        "x-ratelimit-reset": "1",
        "x-tokenlimit-limit": "1000",
        "x-tokenlimit-remaining": "900",
    }
    view = dialect("together").limits(answer({}, headers=headers))
    assert view is not None
    assert (view.limits["requests"].remaining, view.limits["tokens"].remaining) == (9, 900)


def test_llama_cpp_is_waited_for_while_it_loads_its_model() -> None:
    body = {"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}}
    failure = judged("llama_cpp", body, 503)
    assert (failure.verdict, failure.outcome) == (Verdict.RETRY, Outcome.NOT_BILLED)
