"""Signed or encrypted reasoning, carried through a conversation that calls functions. Pure.

Some providers want their model's thinking back, unchanged and in its place, with the results of
the functions that it called. A reply carries it as ``reasoning_state``, which nobody but the
provider can read; an assistant message that goes on with the conversation hands it back.

``{"wire", "route", "parts"}``: ``route`` is the provider and model that alone can use it.
``parts`` are in the order of the answer: the provider's own blocks, ``{"type": "text", "chars"}``
for so much of the content, ``{"type": "call"}`` for the next of the calls.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

State = dict[str, Any]
Part = dict[str, Any]

MAX_PARTS = 1024


def state_of(wire: str, route: str, parts: Sequence[Part]) -> State | None:
    """Give the state of a reply; ``None`` where there is nothing to be carried: no reasoning, or
    no call whose result it would be wanted with."""
    kinds = {part["type"] for part in parts}
    if "call" not in kinds or not kinds - {"text", "call"} or len(parts) > MAX_PARTS:
        return None
    return {"wire": wire, "route": route, "parts": list(parts)}


def state_problem(state: Any) -> str | None:
    """Say what is wrong with a state that a caller hands back; what its parts may hold is the
    dialect's to check."""
    good = (
        isinstance(state, dict)
        and state.keys() == {"wire", "route", "parts"}
        and isinstance(state["wire"], str)
        and isinstance(state["route"], str)
        and isinstance(state["parts"], list)
        and len(state["parts"]) <= MAX_PARTS
        and all(isinstance(part, dict) for part in state["parts"])
    )
    return None if good else "must be handed back as the reply gave it"


def in_order(
    message: Mapping[str, Any],
    *,
    wire: str,
    route: str,
    own: Callable[[Part], Part | None],
    text: Callable[[str], Part],
    calls: Sequence[Part],
) -> list[Part] | None:
    """Give a message's blocks with the reasoning in its place; ``None`` if it has none for this
    wire and route, or does not say what it said then.

    ``own`` gives a provider's block in the fields that may go back, ``None`` if it is none.
    """
    state, content = message.get("reasoning_state"), message.get("content") or ""
    if state is None or (state["wire"], state["route"]) != (wire, route):
        return None
    if not isinstance(content, str):
        return None
    blocks: list[Part] = []
    ahead = iter(calls)
    place = 0
    for part in state["parts"]:
        kind, chars = part.get("type"), part.get("chars")
        block: Part | None
        if kind == "text" and type(chars) is int and chars >= 0:
            said = content[place : place + chars]
            place += chars
            if not said:
                continue
            block = text(said)
        else:
            block = next(ahead, None) if kind == "call" else own(part)
        if block is None:
            return None
        blocks.append(block)
    whole = place == len(content) and next(ahead, None) is None
    return blocks if whole else None
