"""How many tokens a text may be, where nobody can count them. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from sutlerd.providers.contract import TokenCount

#: English prose has some four bytes a token; code, JSON and other scripts have fewer, so the
#: estimate is raised by a quarter.
_BYTES_PER_TOKEN = 4 / 1.25
#: Role and separators of a message, and the start of the answer.
_TOKENS_PER_MESSAGE = 4
_TOKENS_PER_IMAGE = 1600
METHOD = "estimate: 1.25 tokens for 4 bytes"


def estimate_tokens(asked: str | Sequence[Mapping[str, Any]]) -> TokenCount:
    """Estimate a bare text, or the prompt that messages become."""
    if isinstance(asked, str):
        tokens = _of_text(asked)
    else:
        tokens = 3 + sum(_of_message(message) for message in asked)
    return TokenCount(tokens=tokens, exact=False, method=METHOD)


def _of_message(message: Mapping[str, Any]) -> int:
    tokens = _TOKENS_PER_MESSAGE
    for name, value in message.items():
        if name == "content" and isinstance(value, list):
            tokens += sum(_of_part(part) for part in value)
        elif isinstance(value, str):
            tokens += _of_text(value)
        elif value is not None:
            tokens += _of_text(orjson.dumps(value).decode())
    return tokens


def _of_part(part: Mapping[str, Any]) -> int:
    text = part.get("text")
    return _of_text(text) if isinstance(text, str) else _TOKENS_PER_IMAGE


def _of_text(text: str) -> int:
    return round(len(text.encode()) / _BYTES_PER_TOKEN + 0.5) if text else 0
