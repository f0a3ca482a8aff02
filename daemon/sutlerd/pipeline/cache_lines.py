"""A stored answer as a line of a file that others may read, and back. Pure.

A line has nothing of whose answer it is. What comes back was written by anybody, so it is taken
apart and put together anew: what is stored is in the form that the way of hits relies on, or
the line is refused.
"""

from __future__ import annotations

import base64
import binascii
import math
from array import array
from typing import Annotated, Any, Literal, TypeAlias

import orjson
from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictFloat, StrictInt, StrictStr
from pydantic import model_validator as checked

from sutlerd.cache.entry import Entry
from sutlerd.cache.fingerprint import FINGERPRINT_BYTES, REPLY, TENANT_BYTES, VECTOR
from sutlerd.pipeline.embed_result import Vector

_FLOAT_BYTES = 4

Name: TypeAlias = Annotated[StrictStr, Field(min_length=1, max_length=256)]
Count: TypeAlias = Annotated[StrictInt, Field(ge=0, le=2**53)] | None
UnixS: TypeAlias = Annotated[StrictFloat | StrictInt, Field(ge=0, le=2**40)]


class _Shape(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _Function(_Shape):
    name: StrictStr
    arguments: StrictStr


class _Call(_Shape):
    id: StrictStr
    type: Literal["function"]
    function: _Function
    broken: StrictBool = False


class _Usage(_Shape):
    prompt_tokens: Count = None
    cached_tokens: Count = None
    cache_write_tokens: Count = None
    completion_tokens: Count = None
    reasoning_tokens: Count = None
    total_tokens: Count = None


class _Prompt(_Shape):
    name: Name
    version: Name
    hash: Name
    deprecated: StrictStr | None = None


class _Reply(_Shape):
    prompt: _Prompt | None = None
    reasoning_state: dict[str, Any] | None = None
    content: StrictStr
    finish_reason: Literal["stop", "tool_calls", "length"]
    tool_calls: list[_Call] | None = None
    reasoning: StrictStr | None = None
    parsed: Any = None
    model: Name
    provider: Name
    usage: _Usage
    saved_nanousd: Annotated[StrictInt, Field(ge=0, le=10**15)] | None = None


class _Line(_Shape):
    """``key`` is the hash of the question, in hex; the times are the entry's own."""

    key: Annotated[StrictStr, Field(pattern=r"^[0-9a-f]{64}$")]
    stored_unix_s: UnixS
    expires_unix_s: UnixS


class ReplyLine(_Line):
    kind: Literal["reply"]
    reply: _Reply


class VectorLine(_Line):
    """``floats`` are ``dimension`` little-endian float32 values, as base64."""

    kind: Literal["vector"]
    model: Name
    dimension: Annotated[StrictInt, Field(ge=1, le=2**20)]
    floats: StrictStr

    @checked(mode="after")
    def _fits(self) -> VectorLine:
        try:
            floats = base64.b64decode(self.floats, validate=True)
        except (binascii.Error, ValueError):
            raise ValueError("floats: is no base64") from None
        if len(floats) != _FLOAT_BYTES * self.dimension:
            raise ValueError(f"floats: are not {self.dimension} float32 values")
        # Doubles hold the sum of any number of float32 values; what is not finite stays so.
        if not math.isfinite(sum(array("f", floats))):
            raise ValueError("floats: holds a value that is not finite")
        return self


Line: TypeAlias = Annotated[ReplyLine | VectorLine, Field(discriminator="kind")]


def question_of(line: ReplyLine | VectorLine) -> bytes:
    """Give the part of the key that is the same for every tenant."""
    return (REPLY if isinstance(line, ReplyLine) else VECTOR) + bytes.fromhex(line.key)


def payload_of(line: ReplyLine | VectorLine) -> bytes:
    """Give what is stored for a line."""
    if isinstance(line, VectorLine):
        floats = base64.b64decode(line.floats)
        return Vector(model=line.model, dimension=line.dimension, floats=floats).encode()
    reply = line.reply
    usage = reply.usage.model_dump()
    members: dict[str, Any] = {}
    if reply.prompt is not None:
        members["prompt"] = reply.prompt.model_dump(exclude_none=True)
    if reply.reasoning_state is not None:
        members["reasoning_state"] = reply.reasoning_state
    calls = [call.model_dump(exclude_defaults=True) for call in reply.tool_calls or ()]
    members |= {
        "content": reply.content,
        "finish_reason": reply.finish_reason,
        "tool_calls": calls or None,
        "reasoning": reply.reasoning,
        "parsed": reply.parsed,
        "model": reply.model,
        "provider": reply.provider,
        "usage": usage,
        "saved_nanousd": reply.saved_nanousd,
    }
    return orjson.dumps(members)


def line_of(entry: Entry) -> dict[str, Any] | None:
    """Give an entry's line, for orjson; ``None`` for what is no answer."""
    kind, key = entry.key[TENANT_BYTES : TENANT_BYTES + 1], entry.key[TENANT_BYTES + 1 :]
    if len(entry.key) != FINGERPRINT_BYTES:
        return None
    common = {
        "key": key.hex(),
        "stored_unix_s": entry.stored_unix_s,
        "expires_unix_s": entry.expires_unix_s,
    }
    if kind == REPLY:
        return {"kind": "reply", **common, "reply": orjson.Fragment(entry.payload)}
    if kind != VECTOR:
        return None
    vector = Vector.decode(entry.payload)
    return {
        "kind": "vector",
        **common,
        "model": vector.model,
        "dimension": vector.dimension,
        "floats": base64.b64encode(vector.floats).decode(),
    }
