"""Texts that come as a model's tokens, as LangChain's embeddings send them by default.

They are read back as the text that they spell, so that an array and its text are one prompt and
one cache entry. That takes the tokenizer that made them: it is named by a header, or known from
the model that was asked for. Of other models nobody can say, and a guess would be nonsense.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from sutlerd.domain.errors import InvalidParams
from sutlerd.providers.counting import tokenizer_of
from sutlerd.providers.counting_tiktoken import NoText, NoTokenizer, Tokenizers

HEADER = "X-Sutler-Tokenizer"
_KNOWN = ("cl100k_base", "o200k_base", "o200k_harmony")
#: Fewer are read on the loop: a thread costs more.
_ON_THE_LOOP = 4_096
_SHOWN = 100


class TokenArrays:
    def __init__(self) -> None:
        self._tokenizers = Tokenizers()

    async def in_text(
        self, body: Any, member: str, headers: Mapping[str, str], aliases: Mapping[str, str]
    ) -> Any:
        """Give the body with texts where ``member`` has tokens. Raises ``InvalidParams``."""
        if not isinstance(body, dict):
            return body
        arrays = token_arrays(body.get(member))
        if arrays is None:
            return body
        name = tokenizer_for(body.get("model"), member, headers, aliases)
        if self._tokenizers.is_loaded(name) and sum(map(len, arrays)) < _ON_THE_LOOP:
            texts = self._texts(name, arrays, member)
        else:
            texts = await asyncio.to_thread(self._texts, name, arrays, member)
        return {**body, member: texts if isinstance(body[member][0], list) else texts[0]}

    def _texts(self, name: str, arrays: list[list[int]], member: str) -> list[str]:
        texts = []
        for place, array in enumerate(arrays):
            try:
                texts.append(self._tokenizers.text(name, array))
            except NoTokenizer as reason:
                raise InvalidParams(f"{member}: send text: {reason}") from None
            except NoText as reason:
                raise InvalidParams(
                    f"{member}: the tokens at place {place} are no text: {reason}; send text"
                ) from None
        return texts


def token_arrays(given: Any) -> list[list[int]] | None:
    """Give the arrays of tokens, one for each text; ``None`` for what is none."""
    if not isinstance(given, list) or not given:
        return None
    arrays = given if isinstance(given[0], list) else [given]
    for array in arrays:
        if not isinstance(array, list) or not array:
            return None
        if not all(type(token) is int and token >= 0 for token in array):
            return None
    return arrays


def tokenizer_for(
    model: Any, member: str, headers: Mapping[str, str], aliases: Mapping[str, str]
) -> str:
    """Name the tokenizer that a client took for a model. Raises ``InvalidParams``."""
    said = headers.get(HEADER)
    if said is not None:
        if said not in _KNOWN:
            raise InvalidParams(f"{HEADER.lower()}: must be one of {', '.join(_KNOWN)}")
        return said
    asked = model if isinstance(model, str) else ""
    name = tokenizer_of(asked) or tokenizer_of(aliases.get(asked, ""))
    if name is None:
        raise InvalidParams(
            f"{member}: the tokenizer of {asked[:_SHOWN]!r} is not known, so its tokens cannot be"
            f" read: send text (LangChain's OpenAIEmbeddings: check_embedding_ctx_length=False),"
            f" or name it in {HEADER.lower()}: {', '.join(_KNOWN)}"
        )
    return name
