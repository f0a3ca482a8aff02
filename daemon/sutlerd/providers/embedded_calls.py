"""Forced calls of functions for a server that cannot be made to call one, but can be held to a
schema: the call is asked for as JSON of one shape, and read back as the call that it is. Pure.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import orjson

from sutlerd.domain.call import ChatRequest
from sutlerd.domain.errors import InvalidParams
from sutlerd.domain.reply import Delta, Reply, ToolCall, ToolCallDelta
from sutlerd.providers.contract import BuiltRequest
from sutlerd.providers.dialect import StreamReader

#: The schema's name in the body of a request tells what its answer is.
_NAME: Final = "function_call"
_WORDS: Final = (
    "Call one of these functions. Answer with JSON alone: the function's name and its arguments, "
    "taken from what the user says. The functions: "
)


def is_forced(request: ChatRequest) -> bool:
    """Say whether the model has no choice but to call a function."""
    choice = request.function_call
    return bool(request.functions) and (choice == "required" or isinstance(choice, dict))


def as_schema(request: ChatRequest) -> ChatRequest:
    """Ask for the call as JSON. Raises ``InvalidParams`` for parameters with references, which
    lead elsewhere once they are part of another schema."""
    choice = request.function_call
    named = choice["name"] if isinstance(choice, dict) else None
    functions = [one for one in request.functions if named in (None, one["name"])]
    branches = [_branch(one) for one in functions]
    told = [
        {name: one[name] for name in ("name", "description", "parameters") if name in one}
        for one in functions
    ]
    spelt = orjson.dumps(told, option=orjson.OPT_SORT_KEYS).decode()
    return replace(
        request,
        messages=_instructed(request.messages, _WORDS + spelt),
        functions=(),
        function_call=None,
        parallel_tool_calls=None,
        json_mode=False,
        schema=branches[0] if len(branches) == 1 else {"anyOf": branches},
    )


def marked(built: BuiltRequest) -> BuiltRequest:
    """Note in a request that its answer is a call."""
    form = built.body["response_format"]
    named = {**form, "json_schema": {**form["json_schema"], "name": _NAME}}
    return replace(built, body={**built.body, "response_format": named})


def is_marked(body: Mapping[str, Any]) -> bool:
    form = body.get("response_format") or {}
    return bool((form.get("json_schema") or {}).get("name") == _NAME)


class CallReader:
    """A stream whose text is a call: no text is passed on, the call comes at its end."""

    def __init__(self, reader: StreamReader, body: Mapping[str, Any]) -> None:
        self._reader = reader
        self._body = body

    def feed(self, data: bytes) -> Sequence[Delta | Reply]:
        return self._read(self._reader.feed(data))

    def eof(self) -> Sequence[Delta | Reply]:
        return self._read(self._reader.eof())

    def _read(self, items: Iterable[Delta | Reply]) -> list[Delta | Reply]:
        read: list[Delta | Reply] = []
        for item in items:
            if isinstance(item, Reply):
                reply = as_call(item, self._body)
                if reply.tool_calls:
                    call = reply.tool_calls[0]
                    piece = ToolCallDelta(
                        index=0, id=call.id, name=call.name, arguments=call.arguments
                    )
                    read.append(Delta(tool_calls=(piece,)))
                elif reply.content:
                    read.append(Delta(content=reply.content))
                read.append(reply)
        return read


def as_call(reply: Reply, body: Mapping[str, Any]) -> Reply:
    """Read a reply's text as the call it was held to; one that was cut stays a text."""
    try:
        said = orjson.loads(reply.content)
        name, arguments = said["name"], orjson.dumps(said["arguments"]).decode()
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return reply
    # The same question is answered by the same call; the next round is another question.
    seed = hashlib.blake2b(orjson.dumps(body) + reply.content.encode(), digest_size=9)
    call = ToolCall(id=f"call_{seed.hexdigest()}", name=str(name), arguments=arguments)
    return replace(reply, content="", tool_calls=(call,), finish_reason="tool_calls")


def _branch(function: Mapping[str, Any]) -> dict[str, Any]:
    parameters = function.get("parameters") or {"type": "object"}
    if b'"$ref"' in orjson.dumps(parameters):
        raise InvalidParams(
            f"params.functions: the embedded model cannot be made to call {function['name']}, "
            "whose parameters have references; say auto"
        )
    return {
        "type": "object",
        "properties": {"name": {"const": function["name"]}, "arguments": parameters},
        "required": ["name", "arguments"],
        "additionalProperties": False,
    }


def _instructed(messages: tuple[dict[str, Any], ...], words: str) -> tuple[dict[str, Any], ...]:
    first = messages[0]
    if first["role"] == "system" and isinstance(first["content"], str):
        return ({**first, "content": f"{first['content']}\n\n{words}"}, *messages[1:])
    return ({"role": "system", "content": words}, *messages)
