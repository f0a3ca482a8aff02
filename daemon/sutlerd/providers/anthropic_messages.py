"""Messages in Anthropic's spelling: turns of content blocks, instructions apart. Pure.

Instructions are hoisted from wherever they stand. Messages of one side in a row become one
turn. Results of functions become blocks of the user's turn that follows the calls, before
anything else in it, and every call must have its result there. Ids are put into the
characters that are taken, the same way everywhere.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from sutlerd.domain.errors import InvalidParams
from sutlerd.providers.anthropic_thinking import WIRE, own_block
from sutlerd.providers.reasoning_state import in_order

Block = dict[str, Any]

_DATA_URL = re.compile(
    r"data:(?P<type>image/[a-z0-9.+-]+);base64,(?P<data>[A-Za-z0-9+/=\s]+)", re.I
)
_IMAGE_TYPES = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})
_FOREIGN_CHARS = re.compile(r"[^a-zA-Z0-9_-]")
_MAX_ID_CHARS = 64
#: Under this name goes what a model gave for arguments and was no JSON object: the wire takes
#: nothing else, and the conversation is about it.
_BROKEN = "invalid_arguments"


def spell_messages(
    messages: Sequence[Mapping[str, Any]], dropped: list[str], *, route: str = ""
) -> tuple[list[str], list[dict[str, Any]]]:
    """Give the instructions and the turns; add to ``dropped`` what only hinted.

    ``route`` is who will answer: thinking goes back to whose it is, and to nobody else.
    Raises ``InvalidParams`` with every problem.
    """
    conversation = _Conversation(dropped, route)
    for place, message in enumerate(messages):
        conversation.take(message, f"params.messages[{place}]")
    return conversation.finish()


class _Conversation:
    """Grows turn by turn. ``_open`` are the calls that have no result yet, by their own ids."""

    def __init__(self, dropped: list[str], route: str) -> None:
        self._dropped = dropped
        self._route = route
        self._problems: list[str] = []
        self._instructions: list[str] = []
        self._turns: list[tuple[str, list[Block]]] = []
        self._open: dict[str, tuple[str, str]] = {}
        self._results = 0

    def take(self, message: Mapping[str, Any], path: str) -> None:
        role = message["role"]
        if role in ("system", "developer"):
            self._instructions += _texts(message.get("content"))
        elif role == "assistant":
            self._refuse_open()
            self._turn("assistant").extend(self._said(message, path))
        elif role in ("tool", "function"):
            self._result(message, path)
        else:
            self._turn("user").extend(self._parts(message.get("content"), path))
        if "name" in message and role != "function":
            self._dropped.append("name")

    def finish(self) -> tuple[list[str], list[dict[str, Any]]]:
        self._refuse_open()
        if not any(role == "user" for role, _ in self._turns):
            self._problems.append("params.messages: there is no user's message among them")
        if self._problems:
            raise InvalidParams(self._problems)
        return self._instructions, [_spell_turn(role, blocks) for role, blocks in self._turns]

    def _turn(self, role: str) -> list[Block]:
        if not self._turns or self._turns[-1][0] != role:
            self._turns.append((role, []))
            self._results = 0
        return self._turns[-1][1]

    def _said(self, message: Mapping[str, Any], path: str) -> list[Block]:
        calls: list[Block] = []
        for place, call in enumerate(message.get("tool_calls") or ()):
            own, function = call["id"], call["function"]
            if own in self._open:
                self._problems.append(f"{path}.tool_calls[{place}].id: is there twice")
            self._open[own] = function["name"], f"{path}.tool_calls[{place}]"
            calls.append(
                {
                    "type": "tool_use",
                    "id": _safe_id(own),
                    "name": function["name"],
                    "input": _arguments(function["arguments"]),
                }
            )
        thought = in_order(
            message,
            wire=WIRE,
            route=self._route,
            own=own_block,
            text=lambda said: {"type": "text", "text": said},
            calls=calls,
        )
        if thought is not None:
            return thought
        if "reasoning_state" in message:
            self._dropped.append("reasoning_state")
        return self._parts(message.get("content"), path) + calls

    def _result(self, message: Mapping[str, Any], path: str) -> None:
        own = message.get("tool_call_id")
        if own is None:
            # The old spelling names the function only: the first call of it that waits.
            waiting = (id for id, (name, _) in self._open.items() if name == message["name"])
            own = next(waiting, None)
        if own is None or own not in self._open:
            self._problems.append(f"{path}: answers no call of the assistant's message before it")
            return
        del self._open[own]
        block: Block = {"type": "tool_result", "tool_use_id": _safe_id(own)}
        text = "".join(_texts(message.get("content")))
        if text:
            block["content"] = text
        turn = self._turn("user")
        turn.insert(self._results, block)
        self._results += 1

    def _refuse_open(self) -> None:
        for name, path in self._open.values():
            self._problems.append(f"{path}: the result of {name} is missing after it")
        self._open.clear()

    def _parts(self, content: Any, path: str) -> list[Block]:
        if not isinstance(content, list):
            return [{"type": "text", "text": content}] if content else []
        blocks = []
        for place, part in enumerate(content):
            if part.get("type") == "text":
                blocks.append({"type": "text", "text": part["text"]})
            else:
                blocks.append(self._image(part["image_url"], f"{path}.content[{place}]"))
        return blocks

    def _image(self, image: Mapping[str, Any], path: str) -> Block:
        if image.get("detail") not in (None, "auto"):
            self._dropped.append("detail")
        url = image["url"]
        if not url.startswith("data:"):
            return {"type": "image", "source": {"type": "url", "url": url}}
        found = _DATA_URL.fullmatch(url)
        kind = found["type"].lower().replace("image/jpg", "image/jpeg") if found else ""
        if found is None or kind not in _IMAGE_TYPES:
            self._problems.append(
                f"{path}.image_url.url: must be base64 of {', '.join(sorted(_IMAGE_TYPES))}"
            )
            return {"type": "image"}
        source = {"type": "base64", "media_type": kind, "data": "".join(found["data"].split())}
        return {"type": "image", "source": source}


def _spell_turn(role: str, blocks: list[Block]) -> dict[str, Any]:
    if len(blocks) == 1 and blocks[0]["type"] == "text":
        return {"role": role, "content": blocks[0]["text"]}
    return {"role": role, "content": blocks}


def _texts(content: Any) -> list[str]:
    if isinstance(content, list):
        return [part["text"] for part in content if part.get("type") == "text"]
    return [content] if content else []


def _arguments(spelt: str) -> dict[str, Any]:
    """Give arguments as the object that the wire wants; no arguments are an empty one."""
    if not spelt.strip():
        return {}
    try:
        arguments = orjson.loads(spelt)
    except ValueError:
        arguments = None
    return arguments if isinstance(arguments, dict) else {_BROKEN: spelt}


def _safe_id(own: str) -> str:
    """Give an id in the characters that are taken; different ids stay different."""
    clean = _FOREIGN_CHARS.sub("_", own)
    if clean == own and 0 < len(own) <= _MAX_ID_CHARS:
        return own
    digest = hashlib.sha256(own.encode()).hexdigest()[:16]
    return f"{clean[:40]}_{digest}"
