"""Counting tokens on servers that speak OpenAI's wire and count beside it. Pure.

OpenAI itself counts only in its other API; vLLM and llama.cpp tokenize with the model's own
tokenizer and template, at the root of the server.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from sutlerd.providers.bounded_json import read_object
from sutlerd.providers.contract import BuiltRequest, TokenCount


def build_count(
    asked: str | Sequence[dict[str, Any]], model: str, counts: Literal["llama_cpp", "vllm"] | None
) -> BuiltRequest | None:
    """Spell the request; ``None`` where the server does not count."""
    if counts is None:
        return None
    path = "/../tokenize"
    body: dict[str, Any]
    if isinstance(asked, str):
        body = {"content": asked} if counts == "llama_cpp" else {"model": model, "prompt": asked}
        if counts == "vllm":
            body["add_special_tokens"] = False
    else:
        body = {"model": model, "messages": list(asked)}
        if counts == "llama_cpp":
            path = "/chat/completions/input_tokens"
    return BuiltRequest(model=model, path=path, body=body)


def read_count(body: bytes) -> TokenCount:
    """Read any of the answers; ``ValueError`` for what is none."""
    counted = read_object(body)
    tokens = counted.get("input_tokens", counted.get("count"))
    if tokens is None and isinstance(counted.get("tokens"), list):
        tokens = len(counted["tokens"])
    if isinstance(tokens, bool) or not isinstance(tokens, int) or tokens < 0:
        raise ValueError("no count in it")
    return TokenCount(tokens=tokens, exact=True, method="provider")
