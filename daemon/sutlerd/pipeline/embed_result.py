"""Vectors as they are stored and as they are sent; what fits into one reply. Pure."""

from __future__ import annotations

import base64
from array import array
from collections.abc import Sequence
from typing import TYPE_CHECKING

import orjson

from sutlerd.domain.errors import InvalidParams
from sutlerd.domain.record import record
from sutlerd.domain.reply import Embedded
from sutlerd.domain.usage import Usage
from sutlerd.pipeline.extra import forbidden_extra
from sutlerd.providers.contract import Capabilities

if TYPE_CHECKING:
    from sutlerd.pipeline.params import EmbedParams

#: A float32 written as decimal text with its comma, and as base64, at the most.
FLOAT_TEXT_BYTES = 24
BASE64_BYTES = 5.4
#: Taken where nobody knows a model's dimension yet.
ASSUMED_DIMENSION = 4096
#: No tokenizer makes longer tokens of text in any language; runs of blanks may pass it.
MAX_BYTES_PER_TOKEN = 64
ASSUMED_CONTEXT_TOKENS = 32_768
_SHOWN_PLACES = 5


@record
class Vector:
    """One text's embedding; ``floats`` are ``dimension`` little-endian float32 values."""

    model: str
    dimension: int
    floats: bytes

    def encode(self) -> bytes:
        return (
            orjson.dumps({"model": self.model, "dimension": self.dimension}) + b"\n" + self.floats
        )

    @classmethod
    def decode(cls, payload: bytes) -> Vector:
        head, _, floats = payload.partition(b"\n")
        read = orjson.loads(head)
        return cls(model=read["model"], dimension=read["dimension"], floats=floats)


def check_texts(params: EmbedParams, capabilities: Capabilities, max_reply_bytes: int) -> None:
    """Refuse, before anything is spent, what cannot be embedded or answered as asked."""
    problems = forbidden_extra(params.extra)
    empty = [place for place, text in enumerate(params.texts) if not text]
    if empty:
        problems.append(f"params.texts{_places(empty)}: must not be empty")
    context_tokens = capabilities.context_tokens or ASSUMED_CONTEXT_TOKENS
    max_bytes = context_tokens * MAX_BYTES_PER_TOKEN
    long = [place for place, text in enumerate(params.texts) if len(text.encode()) > max_bytes]
    if long:
        problems.append(
            f"params.texts{_places(long)}: longer than {max_bytes} bytes, more than the "
            f"{context_tokens} tokens of the model can be"
        )
    dimension = params.dimensions or capabilities.dimension or ASSUMED_DIMENSION
    value_bytes = BASE64_BYTES if params.encoding_format == "base64" else FLOAT_TEXT_BYTES
    fitting = max(1, int(max_reply_bytes / (dimension * value_bytes)))
    if len(params.texts) > fitting:
        problems.append(
            f"params.texts: {len(params.texts)} texts do not fit into one reply; "
            f"{fitting} do, with {dimension} dimensions as {params.encoding_format}: "
            "split them" + (", or ask for base64" if params.encoding_format == "float" else "")
        )
    if problems:
        raise InvalidParams(problems)


def _places(places: Sequence[int]) -> str:
    shown = ", ".join(map(str, places[:_SHOWN_PLACES]))
    return f"[{shown}{', …' if len(places) > _SHOWN_PLACES else ''}]"


def compose_vectors(
    params: EmbedParams,
    vectors: Sequence[Vector],
    *,
    bought: Sequence[Embedded],
    cost_nanousd: int | None,
    cached_texts: int,
    provider: str,
    request_id: str,
    latency_ms: float,
) -> bytes:
    """Write the result object. ``usage`` counts what this call bought, 0 if it bought nothing."""
    return orjson.dumps(
        {
            "embeddings": [_encoded(vector, params.encoding_format) for vector in vectors],
            "model": vectors[0].model,
            "provider": provider,
            "dimension": vectors[0].dimension,
            "usage": _usage(bought).to_wire(),
            "cost_nanousd": cost_nanousd,
            "cached": cached_texts,
            "request_id": request_id,
            "latency_ms": round(latency_ms, 3),
        }
    )


def _encoded(vector: Vector, encoding_format: str) -> str | list[float]:
    if encoding_format == "base64":
        return base64.b64encode(vector.floats).decode()
    return array("f", vector.floats).tolist()


def _usage(bought: Sequence[Embedded]) -> Usage:
    counts = [embedded.usage.tokens_in for embedded in bought]
    known = [count for count in counts if count is not None]
    return Usage(tokens_in=sum(known) if len(known) == len(counts) else None, tokens_out=0)
