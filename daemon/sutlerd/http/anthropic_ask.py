"""From an Anthropic request to the wire's parameters. Pure.

Messages of blocks become messages of the wire: what a block says twice or only to Anthropic
(cache marks, thinking that no provider wants back) is left out, what cannot be kept is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from sutlerd.domain.errors import InvalidParams
from sutlerd.http import thoughts
from sutlerd.http.openai_ask import listed, plain_content

#: Parameters that are the wire's own, under their names there.
_SAME = {
    "model": "model",
    "max_tokens": "max_tokens",
    "temperature": "temperature",
    "top_p": "top_p",
    "stop_sequences": "stop",
    "stream": "stream",
}
_DROPPED = frozenset({"service_tier", "cache_control", "inference_geo"})
_REFUSED = {
    "container": "containers are not served",
    "mcp_servers": "MCP servers are not served",
    "context_management": "context management is not served",
}
_Blocks = list[dict[str, Any]]


def messages(body: Any) -> dict[str, Any]:
    """Give the parameters of ``complete``. Raises ``InvalidParams``."""
    if not isinstance(body, dict):
        raise InvalidParams("the body must be a JSON object")
    problems: list[str] = []
    found: dict[str, Any] = {"messages": conversation(body, problems)}
    if "max_tokens" not in body:
        problems.append("max_tokens: Field required")
    extra: dict[str, Any] = {}
    for name, value in body.items():
        if value is None or name in _DROPPED or name in _SHAPED or value == []:
            continue
        if name in _SAME:
            found[_SAME[name]] = value
        elif name in _REFUSED:
            problems.append(f"{name}: {_REFUSED[name]}")
        else:
            extra[name] = value
    _tools(body, found, problems)
    _format(body, found, extra, problems)
    if body.get("thinking") not in (None, {"type": "disabled"}):
        extra["thinking"] = body["thinking"]
    metadata = body.get("metadata")
    if isinstance(metadata, dict) and metadata:
        found["metadata"] = metadata
    if extra:
        found["extra"] = extra
    if problems:
        raise InvalidParams(problems)
    return found


#: Parameters with a translation of their own.
_SHAPED = frozenset(
    {
        "messages",
        "system",
        "tools",
        "tool_choice",
        "thinking",
        "metadata",
        "output_config",
        "output_format",
    }
)


def counted(body: Any) -> dict[str, Any]:
    """Give the parameters of ``count_tokens``; tools count as the text that they are."""
    if not isinstance(body, dict):
        raise InvalidParams("the body must be a JSON object")
    problems: list[str] = []
    found: dict[str, Any] = {"messages": conversation(body, problems)}
    if problems:
        raise InvalidParams(problems)
    if body.get("tools"):
        text = orjson.dumps(body["tools"]).decode()
        found["messages"].insert(0, {"role": "system", "content": text})
    if body.get("model") is not None:
        found["model"] = body["model"]
    return found


def conversation(body: Mapping[str, Any], problems: list[str]) -> _Blocks:
    """Give the wire's messages: the system prompt first, tool results as messages of their own."""
    told: _Blocks = []
    system = body.get("system")
    if system not in (None, "", []):
        told.append({"role": "system", "content": _text_of(system, "system", problems)})
    given = body.get("messages")
    if not isinstance(given, list) or not given:
        problems.append("messages: must be a list of messages")
        return told
    for place, message in enumerate(given):
        path = f"messages[{place}]"
        role = message.get("role") if isinstance(message, dict) else None
        content = message.get("content") if isinstance(message, dict) else None
        if role not in ("user", "assistant"):
            problems.append(f"{path}.role: must be user or assistant")
        elif isinstance(content, str):
            told.append({"role": role, "content": content})
        elif not isinstance(content, list) or not content:
            problems.append(f"{path}.content: must be text or a list of blocks")
        elif not all(isinstance(block, dict) for block in content):
            problems.append(f"{path}.content: must be a list of blocks")
        elif role == "user":
            told += _from_user(content, path, problems)
        else:
            told += _from_assistant(content, path, problems)
    return told


def _from_user(blocks: _Blocks, path: str, problems: list[str]) -> _Blocks:
    results: _Blocks = []
    parts: list[Any] = []
    for place, block in enumerate(blocks):
        here = f"{path}.content[{place}]"
        kind = block.get("type")
        if kind == "text":
            parts.append({"type": "text", "text": block.get("text")})
        elif kind == "image":
            parts.append(_image(block, here, problems))
        elif kind == "tool_result":
            results.append(_result(block, here, problems))
        else:
            problems.append(f"{here}.type: must be text, image or tool_result")
    said: _Blocks = [{"role": "user", "content": plain_content(parts)}] if parts else []
    return results + said


def _from_assistant(blocks: _Blocks, path: str, problems: list[str]) -> _Blocks:
    texts: list[str] = []
    calls: _Blocks = []
    state: dict[str, Any] | None = None
    for place, block in enumerate(blocks):
        kind = block.get("type")
        if kind == "text" and isinstance(block.get("text"), str):
            texts.append(block["text"])
        elif kind == "tool_use":
            calls.append(
                {
                    "id": block.get("id"),
                    "type": "function",
                    "function": {
                        "name": block.get("name"),
                        "arguments": orjson.dumps(block.get("input") or {}).decode(),
                    },
                }
            )
        elif kind == "redacted_thinking":
            state = thoughts.carried(block) or state
        elif kind != "thinking":
            problems.append(f"{path}.content[{place}].type: must be text or tool_use")
    told: dict[str, Any] = {"role": "assistant"}
    if state is not None:
        told["reasoning_state"] = state
    if texts or not calls:
        told["content"] = "".join(texts)
    if calls:
        told["tool_calls"] = calls
    return [told]


def _result(block: dict[str, Any], path: str, problems: list[str]) -> dict[str, Any]:
    content = block.get("content")
    text = "" if content in (None, [], "") else _text_of(content, f"{path}.content", problems)
    if block.get("is_error") is True:
        text = f"Error: {text}"
    return {"role": "tool", "tool_call_id": block.get("tool_use_id"), "content": text}


def _image(block: dict[str, Any], path: str, problems: list[str]) -> dict[str, Any]:
    source = block.get("source")
    source = source if isinstance(source, dict) else {}
    if source.get("type") == "url" and isinstance(source.get("url"), str):
        url = source["url"]
    elif source.get("type") == "base64" and isinstance(source.get("data"), str):
        url = f"data:{source.get('media_type')};base64,{source['data']}"
    else:
        problems.append(f"{path}.source: must be of type base64 or url")
        url = ""
    return {"type": "image_url", "image_url": {"url": url}}


def _text_of(content: Any, path: str, problems: list[str]) -> str:
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        texts = [
            block["text"]
            for block in content
            if isinstance(block, dict)
            and block.get("type") == "text"
            and isinstance(block.get("text"), str)
        ]
        if len(texts) == len(content):
            return "\n".join(texts)
    problems.append(f"{path}: must be text, or blocks of text")
    return ""


def _tools(body: Mapping[str, Any], found: dict[str, Any], problems: list[str]) -> None:
    functions = []
    for place, tool in enumerate(listed(body, "tools", problems)):
        if not isinstance(tool, dict) or tool.get("type", "custom") not in ("custom", None):
            problems.append(f"tools[{place}].type: tools that run at the provider are not served")
            continue
        function = {"name": tool.get("name"), "parameters": tool.get("input_schema")}
        for name in ("description", "strict"):
            if tool.get(name) is not None:
                function[name] = tool[name]
        functions.append(function)
    if functions:
        found["functions"] = functions
    choice = body.get("tool_choice")
    if choice is None:
        return
    kind = choice.get("type") if isinstance(choice, dict) else None
    if kind == "tool" and isinstance(choice.get("name"), str):
        found["function_call"] = {"name": choice["name"]}
    elif isinstance(kind, str) and kind in _CHOICES:
        found["function_call"] = _CHOICES[kind]
    else:
        problems.append("tool_choice.type: must be auto, any, tool or none")
    if isinstance(choice, dict) and choice.get("disable_parallel_tool_use") is True:
        found["parallel_tool_calls"] = False
    if found.get("function_call") == "auto":
        del found["function_call"]


_CHOICES = {"auto": "auto", "any": "required", "none": "none"}


def _format(
    body: Mapping[str, Any], found: dict[str, Any], extra: dict[str, Any], problems: list[str]
) -> None:
    config = body.get("output_config")
    config = config if isinstance(config, dict) else {}
    wanted = body.get("output_format") or config.get("format")
    if isinstance(wanted, dict) and wanted.get("type") == "json_schema":
        found["schema"] = wanted.get("schema")
    elif wanted is not None:
        problems.append("output_config.format.type: must be json_schema")
    rest = {name: value for name, value in config.items() if name != "format" and value is not None}
    if rest:
        extra["output_config"] = rest
