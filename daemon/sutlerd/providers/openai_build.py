"""Chat and embedding requests in OpenAI's spelling. Pure and deterministic: equal requests
give equal bodies, which is what makes them one cache entry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sutlerd.domain.call import ChatRequest, EmbedRequest
from sutlerd.domain.errors import InvalidParams
from sutlerd.domain.record import quick
from sutlerd.providers.contract import BuiltRequest
from sutlerd.providers.dialect import ModelTraits
from sutlerd.providers.instructions import JSON_ALONE, schema_in_words
from sutlerd.providers.openai_switches import OpenAISwitches
from sutlerd.providers.refusals import check_extra, check_word, refuse_unfit
from sutlerd.providers.strict_schema import fits_strict
from sutlerd.providers.tool_calls import shorten_ids

_new_built_request = quick(BuiltRequest)

#: Fields of ``extra`` that would set model, length, price or what the daemon sets itself.
_RESERVED = frozenset(
    {
        "model",
        "models",
        "route",
        "messages",
        "input",
        "prompt",
        "max_tokens",
        "max_completion_tokens",
        "n",
        "best_of",
        "prediction",
        "service_tier",
        "speed",
        "stream",
        "stream_options",
        "encoding_format",
        "dimensions",
        "background",
        "store",
        "batch",
        "modalities",
        "audio",
        "web_search_options",
        "search_parameters",
        "enable_search",
        "plugins",
    }
)
_INSTRUCTIONS = ("system", "developer")


def build_chat(
    request: ChatRequest, model: str, traits: ModelTraits, switches: OpenAISwitches
) -> BuiltRequest:
    refuse_unfit(request, model, traits)
    effort = request.extra.get("reasoning_effort")
    if effort is not None:
        check_word("extra.reasoning_effort", effort, traits.efforts)
    drops = traits.drops_at(effort)
    dropped: list[str] = []
    body: dict[str, Any] = {"model": model}
    messages = _messages(request.messages, traits, switches, dropped)
    _ask_for_format(request, messages, body, traits, switches)
    body["messages"] = messages
    body[switches.max_tokens_field] = request.max_tokens
    hints = {
        "temperature": ("temperature", request.temperature),
        "top_p": ("top_p", request.top_p),
        "stop": ("stop", list(request.stop) or None),
        "seed": (switches.seed_field, request.seed),
        "user": ("user" if switches.user else "", request.user),
    }
    for name, (field, value) in hints.items():
        if value is None:
            continue
        if name in drops or not field:
            dropped.append(name)
        else:
            body[field] = value
    if request.functions:
        _functions(request, body, traits, switches, dropped)
    _extra(request.extra, body, switches)
    return _new_built_request(
        model=model, path="/chat/completions", body=body, dropped=tuple(dict.fromkeys(dropped))
    )


def build_embed(
    request: EmbedRequest, model: str, traits: ModelTraits, switches: OpenAISwitches
) -> BuiltRequest:
    if not switches.embeddings:
        raise InvalidParams(
            "params.provider: this provider has no embeddings; name one that has, such as "
            "openai, ollama, voyage or the embedded model"
        )
    body: dict[str, Any] = {
        "model": model,
        "input": list(request.texts),
        "encoding_format": switches.embed_encoding,
    }
    if request.dimensions is not None:
        body["dimensions"] = request.dimensions
    _extra(request.extra, body, switches)
    return _new_built_request(model=model, path="/embeddings", body=body)


def _messages(
    messages: Sequence[dict[str, Any]],
    traits: ModelTraits,
    switches: OpenAISwitches,
    dropped: list[str],
) -> list[dict[str, Any]]:
    """Copy the messages under the roles and with the fields that the model takes."""
    takes_names = switches.names and "name" not in traits.drops
    spelt = []
    for message in messages:
        # Reasoning that another wire wants back.
        copy = {name: said for name, said in message.items() if name != "reasoning_state"}
        if copy["role"] in _INSTRUCTIONS:
            copy["role"] = traits.system_role
        # The name of a function message is part of its meaning, all others only hint.
        if "name" in copy and not takes_names and copy["role"] != "function":
            del copy["name"]
            dropped.append("name")
        if switches.short_tool_ids:
            shorten_ids(copy)
        spelt.append(copy)
    return spelt


def _functions(
    request: ChatRequest,
    body: dict[str, Any],
    traits: ModelTraits,
    switches: OpenAISwitches,
    dropped: list[str],
) -> None:
    body["tools"] = [
        {"type": "function", "function": {k: v for k, v in function.items() if v is not None}}
        for function in request.functions
    ]
    choice = request.function_call
    if isinstance(choice, dict):
        body["tool_choice"] = {"type": "function", "function": {"name": choice["name"]}}
    elif choice is not None:
        body["tool_choice"] = switches.required_choice if choice == "required" else choice
    if request.parallel_tool_calls is not None:
        if switches.parallel_flag and "parallel_tool_calls" not in traits.drops:
            body["parallel_tool_calls"] = request.parallel_tool_calls
        else:
            dropped.append("parallel_tool_calls")


def _ask_for_format(
    request: ChatRequest,
    messages: list[dict[str, Any]],
    body: dict[str, Any],
    traits: ModelTraits,
    switches: OpenAISwitches,
) -> None:
    """Ask for JSON by the best means the server has; write into ``messages`` what it needs."""
    if request.schema is not None:
        if switches.schema == "json_schema" and traits.native_schema:
            strict = fits_strict(request.schema)
            schema = {"name": "answer", "schema": request.schema, "strict": strict}
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
            return
        _instruct(messages, schema_in_words(request.schema), traits)
    elif request.json_mode:
        # OpenAI refuses the mode when no message speaks of JSON; others babble without end.
        if not any("json" in _plain_text(message).lower() for message in messages):
            _instruct(messages, JSON_ALONE, traits)
    else:
        return
    if switches.schema != "instruction" and traits.native_json_mode:
        body["response_format"] = {"type": "json_object"}


def _instruct(messages: list[dict[str, Any]], text: str, traits: ModelTraits) -> None:
    """Add to the first instruction if it is plain text, else put one in front."""
    first = messages[0]
    if first["role"] in _INSTRUCTIONS and isinstance(first.get("content"), str):
        messages[0] = {**first, "content": f"{first['content']}\n\n{text}"}
    else:
        messages.insert(0, {"role": traits.system_role, "content": text})


def _plain_text(message: Mapping[str, Any]) -> str:
    content = message.get("content")
    if isinstance(content, list):
        return " ".join(str(part.get("text", "")) for part in content)
    return content or ""


def _extra(extra: Mapping[str, Any], body: dict[str, Any], switches: OpenAISwitches) -> None:
    """Add the fields that are passed through."""
    if not extra:
        return
    problems = [
        f"params.extra.{name}: {instead}"
        for name, instead in switches.refused_extra.items()
        if name in extra
    ]
    if problems:
        raise InvalidParams(problems)
    check_extra(extra, _RESERVED, body)
    body.update(extra)
