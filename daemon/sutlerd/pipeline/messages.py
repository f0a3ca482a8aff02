"""Messages of a request: checked by role, made one shape, nothing dropped in silence."""

from __future__ import annotations

import re
from typing import Any

from sutlerd.providers.reasoning_state import state_problem

_ROLES = ("system", "developer", "user", "assistant", "tool", "function")
_MEMBERS = frozenset(
    {"role", "content", "name", "tool_calls", "tool_call_id", "reasoning", "reasoning_state"}
)
_NAME = re.compile(r"^[A-Za-z0-9_.-]{1,64}$")
_MAY_BE_EMPTY = ("tool", "function")
_PARTS = {"text": "text", "image_url": "image_url"}


def check_messages(messages: list[dict[str, Any]]) -> tuple[tuple[dict[str, Any], ...], list[str]]:
    """Give the messages in the wire's one shape and every problem with its path."""
    problems: list[str] = []
    checked = tuple(
        _checked(message, f"params.messages[{place}]", problems)
        for place, message in enumerate(messages)
    )
    return checked, problems


def _checked(message: dict[str, Any], path: str, problems: list[str]) -> dict[str, Any]:
    if not message.keys() <= _MEMBERS:
        surplus = sorted(message.keys() - _MEMBERS)
        problems += [f"{path}.{member[:100]}: no such member of a message" for member in surplus]
    role = message.get("role")
    if role not in _ROLES:
        problems.append(f"{path}.role: must be one of {', '.join(_ROLES)}")
        return {}
    shaped: dict[str, Any] = {"role": role}
    _check_content(message, role, shaped, path, problems)
    name = message.get("name")
    if name is not None:
        if isinstance(name, str) and _NAME.match(name):
            shaped["name"] = name
        else:
            problems.append(f"{path}.name: must be 1 to 64 of the characters A-Z a-z 0-9 _ . -")
    if message.get("tool_calls"):
        _check_tool_calls(message["tool_calls"], role, shaped, path, problems)
    _check_tool_result(message, role, shaped, path, problems)
    state = message.get("reasoning_state")
    if state is not None and role == "assistant":
        wrong = state_problem(state)
        shaped["reasoning_state"] = state
        problems += [f"{path}.reasoning_state: {wrong}"] if wrong else []
    elif state is not None:
        problems.append(f"{path}.reasoning_state: only an assistant message has it")
    return shaped


def _check_content(
    message: dict[str, Any], role: str, shaped: dict[str, Any], path: str, problems: list[str]
) -> None:
    content = message.get("content")
    if content is None and role == "assistant" and message.get("tool_calls"):
        shaped["content"] = None
    elif isinstance(content, str):
        if content or role in _MAY_BE_EMPTY or message.get("tool_calls"):
            shaped["content"] = content
        else:
            problems.append(f"{path}.content: must not be empty")
    elif isinstance(content, list):
        if not content:
            problems.append(f"{path}.content: must not be empty")
        for place, part in enumerate(content):
            _check_part(part, role, f"{path}.content[{place}]", problems)
        shaped["content"] = [_plain(part) for part in content]
    else:
        problems.append(f"{path}.content: must be a string or a list of parts")


def _plain(part: Any) -> Any:
    """Give a part without the detail that an image is seen in anyway: said or not, it is one."""
    image = part.get("image_url") if isinstance(part, dict) else None
    if isinstance(image, dict) and image.get("detail") == "auto":
        shown = {name: value for name, value in image.items() if name != "detail"}
        return {**part, "image_url": shown}
    return part


def _check_part(part: Any, role: str, path: str, problems: list[str]) -> None:
    if not isinstance(part, dict) or part.get("type") not in tuple(_PARTS):
        problems.append(f"{path}: must be a part of type {' or '.join(_PARTS)}")
        return
    surplus = sorted(part.keys() - {"type", _PARTS[part["type"]]})
    kind = part["type"]
    problems += [f"{path}.{member[:100]}: no such member of a {kind} part" for member in surplus]
    if part["type"] == "text":
        if not isinstance(part.get("text"), str) or not part["text"]:
            problems.append(f"{path}.text: must be a string that is not empty")
        return
    image = part.get("image_url")
    if role != "user":
        problems.append(f"{path}: images are taken in user messages only")
    elif not isinstance(image, dict) or not isinstance(image.get("url"), str):
        problems.append(f"{path}.image_url.url: must be a string")
    elif not image["url"].startswith(("https://", "http://", "data:image/")):
        problems.append(f"{path}.image_url.url: must be an http(s) or a data:image/ URL")
    elif image.keys() - {"url", "detail"}:
        problems.append(f"{path}.image_url: takes url and detail only")


def _check_tool_calls(
    calls: Any, role: str, shaped: dict[str, Any], path: str, problems: list[str]
) -> None:
    if role != "assistant":
        problems.append(f"{path}.tool_calls: only an assistant message has them")
        return
    if not isinstance(calls, list):
        problems.append(f"{path}.tool_calls: must be a list")
        return
    shaped["tool_calls"] = []
    for place, call in enumerate(calls):
        function = call.get("function") if isinstance(call, dict) else None
        if not (
            isinstance(function, dict)
            and isinstance(call.get("id"), str)
            and isinstance(function.get("name"), str)
            and isinstance(function.get("arguments"), str)
        ):
            problems.append(
                f"{path}.tool_calls[{place}]: must be "
                '{"id": …, "type": "function", "function": {"name": …, "arguments": "…"}}'
            )
            continue
        shaped["tool_calls"].append(
            {
                "id": call["id"],
                "type": "function",
                "function": {"name": function["name"], "arguments": function["arguments"]},
            }
        )


def _check_tool_result(
    message: dict[str, Any], role: str, shaped: dict[str, Any], path: str, problems: list[str]
) -> None:
    call_id = message.get("tool_call_id")
    if role == "tool" and not (isinstance(call_id, str) and call_id):
        problems.append(f"{path}.tool_call_id: a tool message names the call it answers")
    elif role == "function" and "name" not in shaped:
        problems.append(f"{path}.name: a function message names its function")
    elif call_id is not None and role != "tool":
        problems.append(f"{path}.tool_call_id: only a tool message has it")
    elif call_id is not None:
        shaped["tool_call_id"] = call_id
