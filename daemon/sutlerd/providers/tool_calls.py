"""Tool calls put together from what providers send, whole or in fragments. Pure.

Fragments gather by ``index``. Compatible servers leave the index out, send 0 for every call,
repeat the id or the name in every fragment, or send a new id with each: the rules are in
``_slot_for``. Arguments are handed on as the string they are; one that is not JSON is marked.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

import orjson

from sutlerd.domain.reply import ToolCall, ToolCallDelta
from sutlerd.providers.dialect import MAX_TOOL_CALLS, MAX_TOOL_FRAGMENTS

#: Each check joins all fragments so far: without a limit a hostile stream makes it quadratic.
_MAX_WHOLENESS_CHECKS = 64
_SHORT_ID_CHARS = 9


@dataclass(slots=True)
class _Slot:
    id: str
    name: str = ""
    arguments: list[str] = field(default_factory=list)
    told: bool = False
    wholeness_checks: int = 0


class ToolCallAssembler:
    """Collects the calls of one reply. ``seed`` makes up the ids that are missing: it should
    be the provider's id of the reply, so that made-up ids differ from turn to turn."""

    def __init__(self, seed: str = "") -> None:
        self.seed = seed
        self._slots: list[_Slot] = []
        self._by_index: dict[int, int] = {}
        self._by_id: dict[str, int] = {}
        self._fragments = 0

    def add(
        self, index: Any = None, id: Any = None, name: Any = None, arguments: Any = None
    ) -> ToolCallDelta:
        """Take one fragment as it came, of whatever types; give what it adds.

        Raises ``ValueError`` over a limit.
        """
        self._fragments += 1
        if self._fragments > MAX_TOOL_FRAGMENTS:
            raise ValueError(f"more than {MAX_TOOL_FRAGMENTS} fragments of tool calls")
        index = index if isinstance(index, int) and not isinstance(index, bool) else None
        id = id if isinstance(id, str) and id else None
        name = name if isinstance(name, str) and name else None
        number = self._slot_for(index, id, name)
        slot = self._slots[number]
        if name and not slot.name:
            slot.name = name
        piece = spell_arguments(arguments)
        if piece:
            slot.arguments.append(piece)
        if slot.told or not slot.name:
            return ToolCallDelta(index=number, arguments=piece if slot.told else "")
        slot.told = True
        # All of it: fragments may have come before the name.
        return ToolCallDelta(
            index=number, id=slot.id, name=slot.name, arguments="".join(slot.arguments)
        )

    def finish(self) -> tuple[ToolCall, ...]:
        """Give the whole calls; raise ``ValueError`` for one that was never named."""
        calls = []
        for slot in self._slots:
            if not slot.name:
                raise ValueError("a tool call without a name")
            arguments = "".join(slot.arguments) or "{}"
            calls.append(
                ToolCall(
                    id=slot.id,
                    name=slot.name,
                    arguments=arguments,
                    broken=not _is_json(arguments),
                )
            )
        return tuple(calls)

    def _slot_for(self, index: int | None, id: str | None, name: str | None) -> int:
        """Find the call that a fragment belongs to, or begin a new one."""
        if id is not None and id in self._by_id:
            return self._by_id[id]
        known = self._by_index.get(index) if index is not None else None
        if index is None and self._slots and id is None and name is None:
            known = len(self._slots) - 1
        if known is not None and not self._begins_anew(self._slots[known], id, name):
            return known
        if len(self._slots) >= MAX_TOOL_CALLS:
            raise ValueError(f"more than {MAX_TOOL_CALLS} tool calls")
        number = len(self._slots)
        self._slots.append(_Slot(id or self._made_up_id(number)))
        if id is not None:
            self._by_id[id] = number
        if index is not None:
            self._by_index[index] = number
        return number

    @staticmethod
    def _begins_anew(slot: _Slot, id: str | None, name: str | None) -> bool:
        """Say whether a fragment under a known index is another call all the same.

        A name comes once a call, but for servers that repeat it: while those do, the
        arguments are not whole yet. A call with no arguments is told by its new id.
        """
        if name is None or not slot.name:
            return False
        if not slot.arguments:
            return id is not None
        if slot.wholeness_checks >= _MAX_WHOLENESS_CHECKS:
            return False
        slot.wholeness_checks += 1
        return _is_json("".join(slot.arguments))

    def _made_up_id(self, number: int) -> str:
        digest = hashlib.sha256(f"{self.seed}/{number}".encode()).hexdigest()
        return f"call_{digest[:24]}"


def shorten_ids(message: dict[str, Any]) -> None:
    """Make the ids of calls in a message nine letters and digits, the same for the same id.

    Those that are so already stay; ``message`` is changed, what is within it is not.
    """
    if "tool_calls" in message:
        message["tool_calls"] = [
            {**call, "id": _short_id(call["id"])} for call in message["tool_calls"]
        ]
    if "tool_call_id" in message:
        message["tool_call_id"] = _short_id(message["tool_call_id"])


def _short_id(id: str) -> str:
    if len(id) == _SHORT_ID_CHARS and id.isascii() and id.isalnum():
        return id
    return hashlib.sha256(id.encode()).hexdigest()[:_SHORT_ID_CHARS]


def spell_arguments(arguments: Any) -> str:
    """Give arguments as the JSON string that they should be: some servers send an object."""
    if isinstance(arguments, str):
        return arguments
    return "" if arguments is None else orjson.dumps(arguments).decode()


def _is_json(text: str) -> bool:
    try:
        orjson.loads(text)
    except ValueError:
        return False
    return True
