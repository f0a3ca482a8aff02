"""From an OpenAI Responses request to the wire's parameters: the stateless part. Pure.

Nothing is kept between requests here: what refers to something kept is refused by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sutlerd.domain.errors import InvalidParams
from sutlerd.http.openai_ask import listed, plain_content, says_nothing

_SAME = {
    "model": "model",
    "temperature": "temperature",
    "top_p": "top_p",
    "max_output_tokens": "max_tokens",
    "parallel_tool_calls": "parallel_tool_calls",
    "stream": "stream",
    "user": "user",
    "metadata": "metadata",
}
_NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    "background": (False,),
    "include": ([],),
    "metadata": ({},),
    "service_tier": ("auto", "default"),
    "tools": ([],),
    "top_logprobs": (0,),
    "truncation": ("disabled",),
    "text": ({"format": {"type": "text"}}, {}),
    "reasoning": ({},),
}
#: ``store`` is what their clients leave at true; nothing is, and the answer says so.
_DROPPED = frozenset(
    {"store", "prompt_cache_key", "prompt_cache_retention", "safety_identifier", "stream_options"}
)
_REFUSED = {
    "previous_response_id": "nothing is kept between requests: send the whole conversation",
    "conversation": "nothing is kept between requests: send the whole conversation",
    "background": "answers are not made in the background",
    "include": "nothing more can be included",
    "prompt": "prompts kept at OpenAI are not served",
    "service_tier": "the operator chooses what is paid for",
    "top_logprobs": "log probabilities are not served",
    "truncation": "conversations are not cut",
    "max_tool_calls": "tools are run by the client",
    "context_management": "conversations are not compacted",
}
_SHAPED = frozenset({"input", "instructions", "tools", "tool_choice", "text", "reasoning"})


def response(body: Any) -> dict[str, Any]:
    """Give the parameters of ``complete``. Raises ``InvalidParams``."""
    if not isinstance(body, dict):
        raise InvalidParams("the body must be a JSON object")
    problems: list[str] = []
    found: dict[str, Any] = {"messages": _conversation(body, problems)}
    extra: dict[str, Any] = {}
    for name, value in body.items():
        if value is None or name in _DROPPED or name in _SHAPED:
            continue
        if says_nothing(value, _NEUTRAL.get(name, ())):
            continue
        if name in _SAME:
            found[_SAME[name]] = value
        elif name in _REFUSED:
            problems.append(f"{name}: {_REFUSED[name]}")
        else:
            extra[name] = value
    _tools(body, found, problems)
    _text(body, found, extra, problems)
    effort = body.get("reasoning")
    if isinstance(effort, dict) and effort.get("effort") is not None:
        extra["reasoning_effort"] = effort["effort"]
    if extra:
        found["extra"] = extra
    if problems:
        raise InvalidParams(problems)
    return found


def _conversation(body: Mapping[str, Any], problems: list[str]) -> list[dict[str, Any]]:
    told: list[dict[str, Any]] = []
    if body.get("instructions"):
        told.append({"role": "system", "content": body["instructions"]})
    given = body.get("input")
    if isinstance(given, str) and given:
        return [*told, {"role": "user", "content": given}]
    if not isinstance(given, list) or not given:
        problems.append("input: must be text, or a list of items")
        return told
    for place, item in enumerate(given):
        if isinstance(item, dict):
            _item(item, f"input[{place}]", told, problems)
        else:
            problems.append(f"input[{place}]: must be an object")
    return told


def _item(item: dict[str, Any], path: str, told: list[dict[str, Any]], problems: list[str]) -> None:
    kind = item.get("type", "message")
    if kind == "message":
        content = item.get("content")
        if isinstance(content, list):
            content = _content(content, path, problems)
        told.append({"role": item.get("role"), "content": content})
    elif kind == "function_call":
        call = {
            "id": item.get("call_id"),
            "type": "function",
            "function": {"name": item.get("name"), "arguments": item.get("arguments")},
        }
        if told and told[-1]["role"] == "assistant":
            told[-1].setdefault("tool_calls", []).append(call)
        else:
            told.append({"role": "assistant", "tool_calls": [call]})
    elif kind == "function_call_output":
        output = item.get("output")
        if isinstance(output, list):
            output = _content(output, path, problems)
        told.append({"role": "tool", "tool_call_id": item.get("call_id"), "content": output})
    elif kind != "reasoning":
        problems.append(
            f"{path}.type: must be message, function_call, function_call_output or reasoning"
        )


def _content(parts: list[Any], path: str, problems: list[str]) -> Any:
    shaped: list[Any] = []
    for place, part in enumerate(parts):
        kind = part.get("type") if isinstance(part, dict) else None
        if kind in ("input_text", "output_text", "text"):
            shaped.append({"type": "text", "text": part.get("text")})
        elif kind == "refusal":
            shaped.append({"type": "text", "text": part.get("refusal")})
        elif kind == "input_image" and isinstance(part.get("image_url"), str):
            image = {"url": part["image_url"]}
            if part.get("detail") not in (None, "auto"):
                image["detail"] = part["detail"]
            shaped.append({"type": "image_url", "image_url": image})
        else:
            problems.append(f"{path}.content[{place}].type: must be a text, or an image by its URL")
    return plain_content(shaped)


def _tools(body: Mapping[str, Any], found: dict[str, Any], problems: list[str]) -> None:
    functions = []
    for place, tool in enumerate(listed(body, "tools", problems)):
        if not isinstance(tool, dict) or tool.get("type") != "function":
            problems.append(f"tools[{place}].type: only functions of the client are served")
            continue
        taken = ("name", "description", "parameters", "strict")
        functions.append({name: tool[name] for name in taken if tool.get(name) is not None})
    if functions:
        found["functions"] = functions
    choice = body.get("tool_choice")
    if isinstance(choice, dict) and choice.get("type") == "function":
        found["function_call"] = {"name": choice.get("name")}
    elif choice in ("none", "required"):
        found["function_call"] = choice
    elif choice not in (None, "auto"):
        problems.append("tool_choice: must be auto, none, required or a function")


def _text(
    body: Mapping[str, Any], found: dict[str, Any], extra: dict[str, Any], problems: list[str]
) -> None:
    text = body.get("text")
    if text is None:
        return
    if not isinstance(text, dict):
        problems.append("text: must be an object")
        return
    wanted = text.get("format") or {"type": "text"}
    kind = wanted.get("type") if isinstance(wanted, dict) else None
    if kind == "json_schema":
        schema = {name: value for name, value in wanted.items() if name != "type"}
        found["response_format"] = {"type": "json_schema", "json_schema": schema}
    elif kind == "json_object":
        found["response_format"] = {"type": "json_object"}
    elif kind != "text":
        problems.append("text.format.type: must be text, json_object or json_schema")
    if text.get("verbosity") is not None:
        extra["verbosity"] = text["verbosity"]
