"""Replies in the shape of Anthropic's Messages. Pure.

Blocks are taken by their type, never by their place: thinking may come first, and new kinds
of blocks come with new models. What a reply must have and has not raises ``ValueError``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sutlerd.domain.reply import Reply
from sutlerd.domain.usage import UNKNOWN_USAGE, Usage
from sutlerd.providers.anthropic_thinking import Thoughts
from sutlerd.providers.dialect import MAX_REPLY_CHARS
from sutlerd.providers.openai_read import listed, read_model, read_tokens
from sutlerd.providers.tool_calls import ToolCallAssembler

_FINISH = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
#: In the order in which a later count of the same name replaces an earlier one.
_COUNTS = (
    "input_tokens",
    "cache_creation_input_tokens",
    "cache_read_input_tokens",
    "output_tokens",
)


def read_message(body: Mapping[str, Any], *, asked_model: str, provider: str) -> Reply:
    """Read a whole message."""
    blocks = body.get("content")
    if body.get("type") not in ("message", None) or not isinstance(blocks, list):
        raise ValueError("no message")
    content: list[str] = []
    reasoning: list[str] = []
    tools = ToolCallAssembler(str(body.get("id", "")))
    thoughts = Thoughts()
    for place, block in enumerate(listed(blocks)):
        kind = block.get("type")
        thoughts.begin(place, block)
        if kind == "text" and isinstance(block.get("text"), str):
            content.append(block["text"])
        elif kind == "thinking" and isinstance(block.get("thinking"), str):
            reasoning.append(block["thinking"])
        elif kind == "tool_use":
            tools.add(None, block.get("id"), block.get("name"), block.get("input"))
    return make_reply(
        content="".join(content),
        reasoning="".join(reasoning),
        tools=tools,
        word=body.get("stop_reason"),
        model=read_model(body) or asked_model,
        provider=provider,
        usage=read_usage(body.get("usage")),
        reasoning_state=thoughts.state(f"{provider}/{asked_model}"),
    )


def make_reply(
    *,
    content: str,
    reasoning: str,
    tools: ToolCallAssembler,
    word: Any,
    model: str,
    provider: str,
    usage: Usage,
    reasoning_state: dict[str, Any] | None,
) -> Reply:
    """Make the reply of a message or of a whole stream. ``word`` is its stop reason."""
    if len(content) + len(reasoning) > MAX_REPLY_CHARS:
        raise ValueError(f"a reply over {MAX_REPLY_CHARS} characters")
    calls = tools.finish()
    finish = _FINISH.get(word, "stop") if isinstance(word, str) else "stop"
    if calls and finish == "stop":
        finish = "tool_calls"
    known = isinstance(word, str) and word in _FINISH
    return Reply(
        content=content,
        finish_reason=finish,
        model=model,
        provider=provider,
        usage=usage,
        tool_calls=calls,
        reasoning=reasoning or None,
        raw_finish_reason=None if known else _raw(word),
        reasoning_state=reasoning_state,
    )


def read_usage(counts: Any) -> Usage:
    """Read the counts: the whole prompt is what was read anew, written to and read from the
    provider's cache. Hidden thinking is within the output."""
    if not isinstance(counts, dict):
        return UNKNOWN_USAGE
    fresh, written, cached, tokens_out = (read_tokens(counts.get(name)) for name in _COUNTS)
    details = counts.get("output_tokens_details")
    details = details if isinstance(details, dict) else {}
    return Usage(
        tokens_in=None if fresh is None else fresh + (written or 0) + (cached or 0),
        tokens_out=tokens_out,
        cached_tokens_in=cached,
        cache_write_tokens_in=written,
        reasoning_tokens_out=read_tokens(details.get("thinking_tokens")),
    )


def merge_counts(earlier: dict[str, Any], later: Any) -> None:
    """Put the counts of a later event over the earlier ones: they are totals, not additions,
    and those that are null say nothing."""
    if isinstance(later, dict):
        earlier.update({name: count for name, count in later.items() if count is not None})


def _raw(word: Any) -> str:
    return word[:64] if isinstance(word, str) else "missing"
