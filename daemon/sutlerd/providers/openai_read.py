"""Replies in OpenAI's shape, and in the shapes that compatible servers make of it. Pure.

Nothing is trusted to be there or to be of its type: the SDKs do not check either. What a
reply lacks and must have raises ``ValueError``, which ``openai_chat`` makes a failure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sutlerd.domain.record import quick
from sutlerd.domain.reply import Reply
from sutlerd.domain.usage import UNKNOWN_USAGE, Usage
from sutlerd.providers.dialect import MAX_REPLY_CHARS
from sutlerd.providers.tool_calls import ToolCallAssembler

_new_reply = quick(Reply)
_new_usage = quick(Usage)

_FINISH = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "content_filter": "content_filter",
    "function_call": "tool_calls",
    "max_tokens": "length",
    "model_length": "length",
    "model_context_window_exceeded": "length",
    "refusal": "content_filter",
    "safety": "content_filter",
}
#: Words with which a server says that the answer broke off by its own fault.
BROKEN_OFF = frozenset({"error", "insufficient_system_resource", "abort"})

#: No honest count of tokens is larger; JSON numbers beyond it are not exact.
_MAX_COUNT = 2**53


def read_choice(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """Give the first choice of a reply; ``ValueError`` if there is none."""
    choices = body.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise ValueError("no choices")
    return choices[0]


def read_message(body: Mapping[str, Any], *, asked_model: str, provider: str) -> Reply:
    """Read a whole chat completion."""
    choice = read_choice(body)
    message = choice.get("message")
    if not isinstance(message, dict):
        raise ValueError("no message")
    content, reasoning = read_text(message)
    refusal = message.get("refusal")
    tools = ToolCallAssembler(str(body.get("id", "")))
    for call in listed(message.get("tool_calls")):
        function = call.get("function")
        if isinstance(function, dict):
            # Each is whole here, so the index that a server may repeat does not count.
            tools.add(None, call.get("id"), function.get("name"), function.get("arguments"))
    legacy = message.get("function_call")
    if isinstance(legacy, dict):
        tools.add(None, None, legacy.get("name"), legacy.get("arguments"))
    return make_reply(
        content=content,
        reasoning=reasoning,
        refusal=refusal if isinstance(refusal, str) else "",
        tools=tools,
        word=choice.get("finish_reason"),
        model=read_model(body) or asked_model,
        provider=provider,
        usage=read_usage(body) or UNKNOWN_USAGE,
    )


def make_reply(
    *,
    content: str,
    reasoning: str,
    refusal: str,
    tools: ToolCallAssembler,
    word: Any,
    model: str,
    provider: str,
    usage: Usage,
) -> Reply:
    """Make the reply of a message or of a whole stream. ``word`` is its finish reason."""
    if len(content) + len(reasoning) > MAX_REPLY_CHARS:
        raise ValueError(f"a reply over {MAX_REPLY_CHARS} characters")
    calls = tools.finish()
    finish, raw = read_finish(word)
    if refusal and not content and not calls:
        content, finish, raw = refusal, "content_filter", "refusal"
    # Gemini and others say "stop" with calls there: the calls count.
    if calls and finish == "stop":
        finish, raw = "tool_calls", None
    return _new_reply(
        content=content,
        finish_reason=finish,
        model=model,
        provider=provider,
        usage=usage,
        tool_calls=calls,
        reasoning=reasoning or None,
        raw_finish_reason=raw,
    )


def read_finish(word: Any) -> tuple[str, str | None]:
    """Give the finish reason in our words, and the provider's own if it was another."""
    if not isinstance(word, str):
        return "stop", "missing"
    known = _FINISH.get(word) or _FINISH.get(word.lower())
    ours = known or "stop"
    return ours, None if word == ours else word[:64]


def read_text(message: Mapping[str, Any]) -> tuple[str, str]:
    """Give content and reasoning of a message or a delta, chosen by type, never by place."""
    content = message.get("content")
    reasoning = message.get("reasoning_content") or message.get("reasoning") or ""
    if not isinstance(reasoning, str):
        reasoning = ""
    if isinstance(content, str):
        return content, reasoning
    text: list[str] = []
    thought: list[str] = [reasoning]
    # Mistral's reasoning models send a list of parts.
    for part in listed(content):
        if part.get("type") == "text" and isinstance(part.get("text"), str):
            text.append(part["text"])
        elif part.get("type") == "thinking":
            thinking = part.get("thinking")
            if isinstance(thinking, str):
                thought.append(thinking)
            thought += [inner["text"] for inner in listed(thinking) if _has_text(inner)]
    return "".join(text), "".join(thought)


def read_model(body: Mapping[str, Any]) -> str | None:
    """Give the id of the model that served, if it is one that may be shown."""
    model = body.get("model")
    if isinstance(model, str) and 0 < len(model) <= 256 and model.isprintable():
        return model
    return None


def read_usage(body: Mapping[str, Any]) -> Usage | None:
    """Read the counts, wherever the server puts them; ``None`` if it sent none."""
    usage = body.get("usage")
    if not isinstance(usage, dict):
        groq = body.get("x_groq")
        usage = groq.get("usage") if isinstance(groq, dict) else None
    if not isinstance(usage, dict):
        return None
    prompt = usage.get("prompt_tokens_details")
    prompt = prompt if isinstance(prompt, dict) else {}
    completion = usage.get("completion_tokens_details")
    completion = completion if isinstance(completion, dict) else {}
    cached = read_tokens(prompt.get("cached_tokens"))
    if cached is None:
        cached = read_tokens(usage.get("prompt_cache_hit_tokens"))
    return _new_usage(
        tokens_in=read_tokens(usage.get("prompt_tokens")),
        tokens_out=read_tokens(usage.get("completion_tokens")),
        cached_tokens_in=cached,
        cache_write_tokens_in=read_tokens(prompt.get("cache_write_tokens")),
        reasoning_tokens_out=read_tokens(completion.get("reasoning_tokens")),
    )


def listed(value: Any) -> list[dict[str, Any]]:
    """Give the objects of what should be a list of objects."""
    if not isinstance(value, list):
        return []
    return [item for item in value if isinstance(item, dict)]


def _has_text(part: Mapping[str, Any]) -> bool:
    return isinstance(part.get("text"), str)


def read_tokens(value: Any) -> int | None:
    """Take a count only if it is one; anything else is as not said."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return int(value) if 0 <= value < _MAX_COUNT else None
