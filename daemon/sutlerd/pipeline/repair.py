"""What a model is told of an answer that missed its shape. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sutlerd.domain.call import ChatRequest
from sutlerd.domain.reply import Reply

#: As much of a wrong answer as is shown to the model again; the rest would only cost.
MAX_QUOTED_CHARS = 16 * 1024


def repair_request(asked: ChatRequest, reply: Reply, errors: Sequence[str]) -> ChatRequest:
    """Give the question again, with the wrong answer and what is wrong with it behind it."""
    messages: list[dict[str, Any]] = list(asked.messages)
    if reply.content.strip():
        # Calls of functions are told in words: as such, each would want a result.
        messages.append({"role": "assistant", "content": reply.content[:MAX_QUOTED_CHARS]})
    messages.append({"role": "user", "content": repair_words(reply, errors)})
    return replace(asked, messages=tuple(messages))


def repair_words(reply: Reply, errors: Sequence[str]) -> str:
    """Say what is wrong, in the words of the last message."""
    lines = ["Your answer cannot be used:", *(f"- {error}" for error in errors)]
    if reply.tool_calls:
        said = "; ".join(f"{call.name}({call.arguments})" for call in reply.tool_calls)
        lines[0] = f"Your call cannot be made: {said[:MAX_QUOTED_CHARS]}"
        lines.append("Call again, with corrected arguments.")
        return "\n".join(lines)
    if reply.finish_reason == "length":
        lines.append("- it was cut off because it was too long: answer more briefly")
    lines.append("Answer again with the corrected JSON alone.")
    return "\n".join(lines)
