"""A provider's JSON, read with limits. Pure.

orjson stops at 1,024 levels by itself and takes neither NaN nor lone surrogates. What it does
not stop is many tiny values: 16 MiB of ``[],[],[]`` are five million objects. So commas and
opening brackets are counted first, at memory speed, and only in bodies big enough to matter;
those within strings are left out where it makes the difference.
"""

from __future__ import annotations

import re
from typing import Any

import orjson

_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
#: Values in a chat reply or a stream event: takes at most some 60 MB and 60 ms to build.
MAX_VALUES = 1_000_000
#: Values in a reply that is vectors in decimals, 32 bytes each when read.
MAX_VECTOR_VALUES = 1_500_000


def read_json(data: bytes, *, max_values: int = MAX_VALUES) -> Any:
    """Parse; raise ``ValueError`` (``JSONDecodeError`` is one) for what is not JSON or too much."""
    suspicious = len(data) > max_values and _values(data) > max_values
    if suspicious and _values(_STRING.sub(b"", data)) > max_values:
        raise ValueError(f"more than {max_values} values")
    return orjson.loads(data)


def _values(data: bytes) -> int:
    return data.count(b",") + data.count(b"[") + data.count(b"{")


def read_object(data: bytes, *, max_values: int = MAX_VALUES) -> dict[str, Any]:
    """The same, for an object; ``ValueError`` for any other kind."""
    value = read_json(data, max_values=max_values)
    if not isinstance(value, dict):
        raise ValueError("not an object")
    return value
