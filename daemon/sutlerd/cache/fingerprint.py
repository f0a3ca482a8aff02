"""The cache key: what must be equal for one answer to stand for another.

It covers the whole effective upstream request, so a parameter that is new tomorrow is part
of the key by itself. What only addresses or labels a call never gets in here, because it is
no part of ``body``.

A key is in three parts, so that an answer can be carried to another tenant without knowing what
was asked: whose it is (``tenant_part``), what kind of answer it is, and the hash of the question,
which has nothing of a tenant in it.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

import orjson

#: Part of every key. Raised when the same inputs would mean another answer than before.
KEY_VERSION = 2

TENANT_BYTES = 16
#: The kinds of answers, by which a key says what is stored under it: a reply, or one vector.
REPLY: Final = b"r"
VECTOR: Final = b"v"
#: The rest of a key behind the tenant's part: the kind and the hash.
QUESTION_BYTES = 1 + hashlib.sha256().digest_size
FINGERPRINT_BYTES = TENANT_BYTES + QUESTION_BYTES

#: Tenants whose part is remembered: a user's, a group's or the node's.
_MAX_TENANTS = 4096
# Up to here a float that is a whole number and the integer mean the same in every JSON reader.
_MAX_EXACT_INTEGER = 2**53


def fingerprint(
    *, tenant: str, kind: str, provider: str, model: str, body: Mapping[str, Any], sample: int
) -> bytes:
    """Give the ``FINGERPRINT_BYTES`` that name this question.

    ``tenant`` is whose answers may be shared (``uid:1000``), ``kind`` what is asked
    (``chat``, ``embed``), ``provider`` and ``model`` who will answer, ``body`` the request as
    it will be sent, ``sample`` the number of the independent sample. The order of keys in
    ``body``, at any depth, does not matter, nor whether a whole number is written ``1`` or
    ``1.0``. Raises ValueError for what JSON cannot say: NaN, infinities, lone surrogates,
    keys that are not strings, integers beyond 64 bits.
    """
    question = [KEY_VERSION, kind, provider, model, sample, _canonical(body)]
    try:
        spelt = orjson.dumps(question, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError as error:
        raise ValueError(f"this request has no JSON form: {error}") from error
    answer = VECTOR if kind == "embed" else REPLY
    return tenant_part(tenant) + answer + hashlib.sha256(spelt).digest()


@lru_cache(maxsize=_MAX_TENANTS)
def tenant_part(tenant: str) -> bytes:
    """Give the ``TENANT_BYTES`` that all keys of a tenant begin with."""
    return hashlib.sha256(tenant.encode()).digest()[:TENANT_BYTES]


def _canonical(value: Any) -> Any:
    """Copy a JSON value with its numbers in one spelling; orjson sorts the keys."""
    kind = type(value)
    if kind is str or kind is int:
        return value
    if kind is dict:
        return {key: _canonical(member) for key, member in value.items()}
    if kind is list or kind is tuple:
        return [_canonical(member) for member in value]
    if isinstance(value, float):
        return _canonical_float(value)
    if isinstance(value, Mapping):
        return _canonical(dict(value))
    return value


def _canonical_float(number: float) -> float | int:
    # orjson would write NaN and the infinities as null, and so mix them with a real null.
    if not math.isfinite(number):
        raise ValueError(f"{number} is not a JSON number")
    if number.is_integer() and abs(number) <= _MAX_EXACT_INTEGER:
        return int(number)
    return number
