"""Vectors in OpenAI's shape: decimals or base64, in any order. Pure.

Every text gets its own vector or the call fails: none is made up, left out or not finite.
"""

from __future__ import annotations

import base64
import binascii
import math
from array import array
from collections.abc import Mapping, Sequence
from typing import Any

from sutlerd.domain.reply import Embedded
from sutlerd.domain.usage import UNKNOWN_USAGE, Usage
from sutlerd.providers.openai_read import listed, read_model, read_usage

_FLOAT_BYTES = 4


def read_vectors(
    body: Mapping[str, Any],
    *,
    texts: int,
    dimensions: int | None,
    asked_model: str,
    provider: str,
) -> Embedded:
    """Read the vectors of ``texts`` texts; ``ValueError`` if they do not match.

    ``dimensions`` is what was asked for, ``None`` if it was left to the model.
    """
    data = listed(body.get("data"))
    if len(data) != texts:
        raise ValueError(f"{len(data)} vectors for {texts} texts")
    rows: list[bytes | None] = [None] * texts
    for place, item in enumerate(data):
        index = item.get("index", place)
        if isinstance(index, bool) or not isinstance(index, int) or not 0 <= index < texts:
            raise ValueError("a vector with no text of its own")
        if rows[index] is not None:
            raise ValueError(f"two vectors for text {index}")
        rows[index] = read_vector(item.get("embedding"))
    vectors = tuple(row for row in rows if row is not None)
    sizes = {len(vector) for vector in vectors}
    if len(sizes) != 1:
        raise ValueError("vectors of different dimensions")
    dimension = sizes.pop() // _FLOAT_BYTES
    if dimensions is not None and dimension != dimensions:
        raise ValueError(f"vectors of {dimension} dimensions where {dimensions} were asked for")
    return Embedded(
        vectors=vectors,
        dimension=dimension,
        model=read_model(body) or asked_model,
        provider=provider,
        usage=_usage(body),
    )


def read_vector(value: Any) -> bytes:
    """Give one vector as little-endian float32; ``ValueError`` for what is none."""
    if isinstance(value, str):
        try:
            packed = base64.b64decode(value, validate=True)
        except binascii.Error as error:
            raise ValueError(f"a vector that is not base64: {error}") from None
        if len(packed) % _FLOAT_BYTES:
            raise ValueError("a vector of a broken length")
    else:
        packed = pack(value)
    if not packed:
        raise ValueError("an empty vector")
    if not _is_finite(packed):
        raise ValueError("a vector with values that are not finite")
    return packed


def pack(values: Any) -> bytes:
    """Pack numbers as little-endian float32; ``ValueError`` for what is not a list of them."""
    if not isinstance(values, Sequence) or isinstance(values, str | bytes):
        raise ValueError("a vector that is no list of numbers")
    try:
        floats = array("f", values)
    except (TypeError, OverflowError) as error:
        raise ValueError(f"a vector with something in it that is no number: {error}") from None
    if _BIG_ENDIAN:
        floats.byteswap()
    return floats.tobytes()


_BIG_ENDIAN = array("H", [1]).tobytes() == b"\x00\x01"


def _is_finite(packed: bytes) -> bool:
    """Look only at highest bytes first: all below 0x7f means that all are finite, and slices
    and searches of bytes are a hundred times faster than a look at each number."""
    highest = packed[3::_FLOAT_BYTES]
    if b"\x7f" not in highest and b"\xff" not in highest:
        return True
    floats = array("f", packed)
    if _BIG_ENDIAN:
        floats.byteswap()
    return all(map(math.isfinite, floats))


def _usage(body: Mapping[str, Any]) -> Usage:
    """Read the counts; an embedding produces no tokens, so a total is the prompt's."""
    usage = read_usage(body)
    if usage is None:
        return UNKNOWN_USAGE
    tokens_in = usage.tokens_in
    if tokens_in is None:
        total = body["usage"].get("total_tokens") if isinstance(body.get("usage"), dict) else None
        tokens_in = total if isinstance(total, int) and total >= 0 else None
    return Usage(tokens_in=tokens_in, tokens_out=None if tokens_in is None else 0)
