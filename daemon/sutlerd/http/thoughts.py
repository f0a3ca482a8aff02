"""Reasoning that a provider wants back, carried through Anthropic's shapes. Pure.

A reply's ``reasoning_state`` travels as a last block ``redacted_thinking``, whose data every
client hands back unread. Whose data is another's, or was changed, carries nothing.
"""

from __future__ import annotations

import binascii
from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import Any

import orjson

_OURS = "sutler:"

Block = dict[str, Any]


def carrying(reply: Mapping[str, Any]) -> Block | None:
    """Give the block that carries a reply's state, ``None`` if there is none to be carried."""
    state = reply.get("reasoning_state")
    if state is None:
        return None
    return {"type": "redacted_thinking", "data": _OURS + b64encode(orjson.dumps(state)).decode()}


def carried(block: Mapping[str, Any]) -> dict[str, Any] | None:
    """Give the state that a block carries, as it is handed back: nothing in it is checked."""
    data = block.get("data")
    if not isinstance(data, str) or not data.startswith(_OURS):
        return None
    try:
        state = orjson.loads(b64decode(data.removeprefix(_OURS), validate=True))
    except (binascii.Error, ValueError):
        return None
    return state if isinstance(state, dict) else None
