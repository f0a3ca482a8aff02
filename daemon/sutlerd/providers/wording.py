"""Providers' wordings that carry a meaning no code of theirs does. Pure; data on top.

Two meanings only: a prompt that does not fit the model, with the numbers where they are told,
and a single request that is larger than the limit it counts against.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

#: ``needed`` and ``allowed`` name the numbers. The longest text looked at is bounded by the
#: caller's limit on error bodies; no pattern has nested repeats.
_TOO_LONG = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        # OpenAI, vLLM: two orders of the same words, the request counted whole or in parts.
        r"maximum context length is (?P<allowed>\d+) tokens.{0,80}?"
        r"(?:resulted in|requested|has|contains)(?: about| at least)? (?P<needed>\d+)",
        r"maximum context length is (?P<allowed>\d+)",
        # Anthropic
        r"prompt is too long: (?P<needed>\d+) tokens > (?P<allowed>\d+)",
        # llama.cpp
        r"request \((?P<needed>\d+) tokens\) exceeds the available context size "
        r"\((?P<allowed>\d+)",
        r"exceeds the available context size",
        # vLLM
        r"prompt \(length (?P<needed>\d+)\) is longer than the maximum model length of "
        r"(?P<allowed>\d+)",
        # Gemini
        r"input token count \(?(?P<needed>\d+)\)? exceeds the maximum number of tokens allowed "
        r"\(?(?P<allowed>\d+)",
        # Mistral
        r"prompt contains (?P<needed>\d+) tokens.{0,120}?(?P<allowed>\d+) maximum context length",
        # Together
        r"must be <= (?P<allowed>\d+)\. Given: (?P<needed>\d+) `inputs` tokens",
        # Ollama
        r"input length exceeds the (?:maximum )?context length",
        r"prompt too long; exceeded (?:max )?context length",
        # Groq, DeepSeek and others
        r"reduce the length of the (?:messages|prompt|input)",
    )
)

_LIMIT_AND_REQUESTED = re.compile(r"limit:? (?P<limit>\d+), requested:? (?P<need>\d+)", re.I)

#: Commas in numbers (``128,000``) are taken out before matching.
_GROUPED = re.compile(r"(?<=\d),(?=\d{3})")


def read_too_long(
    message: str, details: Mapping[str, Any] | None
) -> tuple[int | None, int | None] | None:
    """Give tokens needed and allowed, each ``None`` if not told; ``None`` if it says otherwise."""
    if details is not None and isinstance(details.get("n_ctx"), int):
        return _count(details.get("n_prompt_tokens")), _count(details["n_ctx"])
    text = _GROUPED.sub("", message[:4096])
    for pattern in _TOO_LONG:
        found = pattern.search(text)
        if found:
            numbers = found.groupdict()
            return _count(numbers.get("needed")), _count(numbers.get("allowed"))
    return None


def is_too_large_for_limit(message: str) -> bool:
    """Say whether one request needs more than the whole limit: waiting would never help."""
    found = _LIMIT_AND_REQUESTED.search(_GROUPED.sub("", message[:4096]))
    return found is not None and int(found["need"]) > int(found["limit"])


def _count(value: object) -> int | None:
    """Read a count of tokens; a number of more than 12 digits is none."""
    if isinstance(value, str) and value.isdigit() and len(value) <= 12:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if 0 <= value < 10**12 else None
