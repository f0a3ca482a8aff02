"""Replies in the shape of OpenAI's Responses. Pure.

The answer is a list of items: messages, function calls, reasoning, and kinds that are yet to
come. An answer that failed comes with status 200 and says so inside.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sutlerd.domain.reply import Reply
from sutlerd.domain.usage import UNKNOWN_USAGE, Usage
from sutlerd.providers.dialect import MAX_REPLY_CHARS
from sutlerd.providers.error_words import ErrorWords, words_of
from sutlerd.providers.openai_read import listed, read_model, read_tokens
from sutlerd.providers.responses_reasoning import read_state
from sutlerd.providers.tool_calls import ToolCallAssembler

_INCOMPLETE = {"max_output_tokens": "length", "content_filter": "content_filter"}
#: Codes of failures that no other try mends.
_REFUSED_CODES = frozenset(
    {
        "invalid_prompt",
        "data_residency_mismatch",
        "bio_policy",
        "misalignment_policy_violation",
        "unsupported_image_media_type",
        "failed_to_download_image",
        "empty_image_file",
    }
)
_REFUSED_STARTS = ("invalid_", "image_")


class ReplyParts:
    """What an answer is put together from, whole or in a stream."""

    def __init__(self, seed: str = "") -> None:
        self.content: list[str] = []
        self.reasoning: list[str] = []
        self.refusal: list[str] = []
        self.tools = ToolCallAssembler(seed)

    def take_output(self, output: Any) -> None:
        """Take the items of a whole answer."""
        for item in listed(output):
            kind = item.get("type")
            if kind == "message":
                self._take_message(item)
            elif kind == "function_call":
                self.tools.add(None, item.get("call_id"), item.get("name"), item.get("arguments"))
            elif kind == "reasoning":
                parts = [*listed(item.get("summary")), *listed(item.get("content"))]
                self.reasoning += [p["text"] for p in parts if isinstance(p.get("text"), str)]

    def _take_message(self, item: Mapping[str, Any]) -> None:
        for part in listed(item.get("content")):
            if part.get("type") == "output_text" and isinstance(part.get("text"), str):
                self.content.append(part["text"])
            elif part.get("type") == "refusal" and isinstance(part.get("refusal"), str):
                self.refusal.append(part["refusal"])

    def reply(self, body: Mapping[str, Any], *, asked_model: str, provider: str) -> Reply:
        """Make the reply; ``body`` tells status, model and usage."""
        content, reasoning = "".join(self.content), "".join(self.reasoning)
        if len(content) + len(reasoning) > MAX_REPLY_CHARS:
            raise ValueError(f"a reply over {MAX_REPLY_CHARS} characters")
        calls = self.tools.finish()
        finish, raw = _finish(body)
        if self.refusal and not content and not calls:
            content, finish, raw = "".join(self.refusal), "content_filter", "refusal"
        if calls and finish == "stop":
            finish = "tool_calls"
        return Reply(
            content=content,
            finish_reason=finish,
            model=read_model(body) or asked_model,
            provider=provider,
            usage=read_usage(body.get("usage")),
            tool_calls=calls,
            reasoning=reasoning or None,
            raw_finish_reason=raw,
            reasoning_state=read_state(body.get("output"), f"{provider}/{asked_model}"),
        )


def read_response(body: Mapping[str, Any], *, asked_model: str, provider: str) -> Reply:
    """Read a whole answer that did not fail."""
    if not isinstance(body.get("output"), list):
        raise ValueError("no output")
    parts = ReplyParts(str(body.get("id", "")))
    parts.take_output(body["output"])
    return parts.reply(body, asked_model=asked_model, provider=provider)


def failure_words(body: Mapping[str, Any]) -> ErrorWords | None:
    """Give the words of an answer that failed; ``None`` if it did not. Raises ``ValueError``
    for one that is not at its end."""
    status = body.get("status")
    if status in ("queued", "in_progress"):
        raise ValueError(f"an answer that is still {status}")
    if status == "cancelled" and not body.get("error"):
        return ErrorWords(message="the provider cancelled the answer")
    if status not in ("failed", "cancelled") and not body.get("error"):
        return None
    return judged_words(words_of(body))


def judged_words(words: ErrorWords) -> ErrorWords:
    """Give words with the status that their code stands for, where this wire alone has it."""
    refused = any(w in _REFUSED_CODES or w.startswith(_REFUSED_STARTS) for w in words.words)
    return replace(words, status=400) if refused and words.status is None else words


def read_usage(counts: Any) -> Usage:
    if not isinstance(counts, dict):
        return UNKNOWN_USAGE
    inputs, outputs = counts.get("input_tokens_details"), counts.get("output_tokens_details")
    inputs = inputs if isinstance(inputs, dict) else {}
    outputs = outputs if isinstance(outputs, dict) else {}
    return Usage(
        tokens_in=read_tokens(counts.get("input_tokens")),
        tokens_out=read_tokens(counts.get("output_tokens")),
        cached_tokens_in=read_tokens(inputs.get("cached_tokens")),
        cache_write_tokens_in=read_tokens(inputs.get("cache_write_tokens")),
        reasoning_tokens_out=read_tokens(outputs.get("reasoning_tokens")),
    )


def _finish(body: Mapping[str, Any]) -> tuple[str, str | None]:
    """Give the finish reason, and the provider's own word if it is none that we know."""
    status = body.get("status")
    if status == "completed":
        return "stop", None
    if status != "incomplete":
        return "stop", status[:64] if isinstance(status, str) else "missing"
    details = body.get("incomplete_details")
    reason = details.get("reason") if isinstance(details, dict) else None
    if isinstance(reason, str) and reason in _INCOMPLETE:
        return _INCOMPLETE[reason], None
    return "stop", reason[:64] if isinstance(reason, str) else "incomplete"
