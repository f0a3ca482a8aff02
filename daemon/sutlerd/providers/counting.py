"""Counts of model tokens made on this machine: exact where the model's own tokenizer is here,
else an estimate that says how it was made."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from sutlerd.domain.ports import EventLog
from sutlerd.providers.contract import TokenCount
from sutlerd.providers.counting_tiktoken import NoTokenizer, Tokenizers
from sutlerd.providers.dialect import ModelTraits
from sutlerd.providers.estimate import estimate_tokens

#: What OpenAI's own template adds: for a message, for its name, and to begin the answer.
_PER_MESSAGE, _PER_NAME, _TO_BEGIN = 3, 1, 3
_PER_TOOL_CALL = 10
_PER_IMAGE = 765
#: Families whose prompts were seen to count so to the token; of the others the last is not sure.
_EXACT_PROMPTS = ("gpt-4o", "gpt-4.1", "gpt-4", "gpt-3.5", "chatgpt-4o")
#: Texts below this are counted on the loop: a thread costs more.
_ON_THE_LOOP_CHARS = 8_192
#: Tokenizers of OpenAI's by the start of the model's name; the first that fits.
_BY_MODEL = (
    (("gpt-4o", "gpt-4.1", "gpt-4.5", "chatgpt-4o", "gpt-5", "o1", "o3", "o4-mini"), "o200k_base"),
    (("gpt-oss",), "o200k_harmony"),
    (("gpt-4", "gpt-3.5-turbo", "text-embedding-3-", "text-embedding-ada-002"), "cl100k_base"),
)
#: For models of OpenAI's that nobody told the tokenizer of.
_NEWEST = "o200k_base"


def tokenizer_of(model: str) -> str | None:
    """Give the tokenizer of a model of OpenAI's, whoever serves it; ``None``: not known."""
    name = model.lower().removeprefix("ft:").rpartition("/")[2]
    return next((told for starts, told in _BY_MODEL if name.startswith(starts)), None)


class LocalCounter:
    """Counts for endpoints that do not count themselves. One for the whole daemon."""

    def __init__(self, *, log: EventLog, tokenizers: Tokenizers | None = None) -> None:
        self._log = log
        self._tokenizers = tokenizers or Tokenizers()
        self._missing: set[str] = set()

    async def count(
        self,
        asked: str | Sequence[Mapping[str, Any]],
        model: str,
        traits: ModelTraits,
        *,
        openai: bool,
    ) -> TokenCount:
        """Count a bare text, or the prompt that messages become. ``openai``: the model is one
        of OpenAI's even if its name is not known."""
        own = tokenizer_of(model)
        name = own or (_NEWEST if openai or traits.estimate_factor != 1.0 else None)
        if name is None or name in self._missing:
            return estimate_tokens(asked)
        try:
            tokens, sure = await self._counted(name, asked)
        except NoTokenizer as reason:
            self._missing.add(name)
            self._log.event("warning", "tokenizer_missing", tokenizer=name, reason=str(reason))
            return estimate_tokens(asked)
        if own is None:
            factor = traits.estimate_factor
            method = f"estimate: tiktoken:{name} × {factor:g}"
            return TokenCount(tokens=math.ceil(tokens * factor), exact=False, method=method)
        exact = sure and (isinstance(asked, str) or _has_known_template(model))
        return TokenCount(tokens=tokens, exact=exact, method=f"tiktoken:{name}")

    async def _counted(
        self, name: str, asked: str | Sequence[Mapping[str, Any]]
    ) -> tuple[int, bool]:
        texts, more, sure = ([asked], 0, True) if isinstance(asked, str) else _laid_out(asked)
        small = sum(map(len, texts)) < _ON_THE_LOOP_CHARS
        if small and self._tokenizers.is_loaded(name):
            counts = self._count_all(name, texts)
        else:
            counts = await asyncio.to_thread(self._count_all, name, texts)
        tokens = more + sum(tokens for tokens, _ in counts)
        return tokens, sure and all(whole for _, whole in counts)

    def _count_all(self, name: str, texts: Sequence[str]) -> list[tuple[int, bool]]:
        return [self._tokenizers.count(name, text) for text in texts]


def _has_known_template(model: str) -> bool:
    name = model.removeprefix("ft:")
    return name.startswith(_EXACT_PROMPTS) and not name.startswith("gpt-4.5")


def _laid_out(messages: Sequence[Mapping[str, Any]]) -> tuple[list[str], int, bool]:
    """Give the texts of a prompt, the tokens that come on top, and whether that is all sure."""
    texts: list[str] = []
    more, sure = _TO_BEGIN, True
    for message in messages:
        more += _PER_MESSAGE
        texts.append(message["role"])
        content = message.get("content")
        for part in content if isinstance(content, list) else ():
            if isinstance(part.get("text"), str):
                texts.append(part["text"])
            else:
                more, sure = more + _PER_IMAGE, False
        if isinstance(content, str):
            texts.append(content)
        if isinstance(message.get("name"), str):
            texts.append(message["name"])
            more += _PER_NAME
        for call in message.get("tool_calls") or ():
            texts.append(orjson.dumps(call["function"]).decode())
            more, sure = more + _PER_TOOL_CALL, False
    return texts, more, sure
