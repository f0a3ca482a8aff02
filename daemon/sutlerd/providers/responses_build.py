"""Requests in the spelling of OpenAI's Responses. Pure and deterministic: equal requests give
equal bodies, which is what makes them one cache entry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from sutlerd.domain.call import ChatRequest
from sutlerd.domain.errors import InvalidParams
from sutlerd.providers.contract import BuiltRequest
from sutlerd.providers.dialect import ModelTraits
from sutlerd.providers.instructions import JSON_ALONE, schema_in_words
from sutlerd.providers.refusals import check_extra, check_word, refuse_unfit
from sutlerd.providers.responses_items import spell_items
from sutlerd.providers.responses_reasoning import INCLUDE
from sutlerd.providers.strict_schema import fits_strict

PATH = "/responses"
COUNT_PATH = "/responses/input_tokens"
#: Fields of ``extra`` that would set model, length, price or what the daemon sets itself.
_RESERVED = frozenset(
    {
        "model",
        "input",
        "instructions",
        "prompt",
        "max_output_tokens",
        "max_tokens",
        "max_completion_tokens",
        "max_tool_calls",
        "previous_response_id",
        "conversation",
        "context_management",
        "tools",
        "tool_choice",
        "store",
        "stream",
        "stream_options",
        "background",
        "background_options",
        "service_tier",
        "speed",
        "truncation",
        "prompt_cache_options",
        "prompt_cache_retention",
        "metadata",
        "n",
    }
)


def build_response(
    request: ChatRequest, model: str, traits: ModelTraits, *, provider: str
) -> BuiltRequest:
    # This wire has no stop sequences at all.
    refuse_unfit(request, model, replace(traits, refuses=traits.refuses | {"stop"}))
    dropped: list[str] = []
    instructions, items = spell_items(request.messages, dropped, route=f"{provider}/{model}")
    text = _ask_for_format(request, items, traits)
    body: dict[str, Any] = {
        "model": model,
        "input": items,
        "max_output_tokens": request.max_tokens,
        # Else the vendor keeps the conversation for thirty days.
        "store": False,
    }
    if instructions:
        body["instructions"] = instructions
    extra = dict(request.extra)
    reasoning = _reasoning(extra, traits)
    text = {**text, **_text_options(extra)}
    _hint(request, body, traits.drops_at(reasoning.get("effort")), dropped)
    if request.functions:
        body["tools"] = [_tool(function) for function in request.functions]
        _choose(request, body, traits, dropped)
        if traits.efforts and "include" not in extra:
            body["include"] = [INCLUDE]
    body.update({name: said for name, said in (("reasoning", reasoning), ("text", text)) if said})
    check_extra(extra, _RESERVED, body)
    body.update(extra)
    told = tuple(dict.fromkeys(dropped))
    return BuiltRequest(model=model, path=PATH, body=body, dropped=told)


def build_count(asked: str | Sequence[dict[str, Any]], model: str) -> BuiltRequest:
    """Spell a request that counts a bare text, or the prompt that messages become."""
    body: dict[str, Any] = {"model": model, "input": asked}
    if not isinstance(asked, str):
        instructions, body["input"] = spell_items(asked, [])
        if instructions:
            body["instructions"] = instructions
    return BuiltRequest(model=model, path=COUNT_PATH, body=body)


def _ask_for_format(
    request: ChatRequest, items: list[dict[str, Any]], traits: ModelTraits
) -> dict[str, Any]:
    """Give the format to ask for; write into ``items`` what else it needs."""
    if request.schema is not None:
        if traits.native_schema:
            strict = fits_strict(request.schema)
            schema = {"name": "answer", "schema": request.schema, "strict": strict}
            return {"format": {"type": "json_schema", **schema}}
        items.insert(0, {"role": "developer", "content": schema_in_words(request.schema)})
    elif request.json_mode:
        # The mode is refused when no item speaks of JSON; instructions do not count.
        if not any("json" in str(item.get("content")).lower() for item in items):
            items.insert(0, {"role": "developer", "content": JSON_ALONE})
    else:
        return {}
    return {"format": {"type": "json_object"}} if traits.native_json_mode else {}


def _reasoning(extra: dict[str, Any], traits: ModelTraits) -> dict[str, Any]:
    """Take what is said of reasoning, in this wire's spelling or in that of chat."""
    reasoning = extra.pop("reasoning", {})
    if not isinstance(reasoning, dict):
        raise InvalidParams("params.extra.reasoning: must be an object")
    effort = extra.pop("reasoning_effort", None)
    if effort is not None:
        reasoning = {"effort": effort, **reasoning}
    if reasoning.get("effort") is not None:
        check_word("extra.reasoning.effort", reasoning["effort"], traits.efforts)
    return reasoning


def _text_options(extra: dict[str, Any]) -> dict[str, Any]:
    options = extra.pop("text", {})
    if not isinstance(options, dict) or "format" in options:
        raise InvalidParams("params.extra.text: must be an object without format")
    verbosity = extra.pop("verbosity", None)
    return options if verbosity is None else {"verbosity": verbosity, **options}


def _hint(
    request: ChatRequest, body: dict[str, Any], drops: frozenset[str], dropped: list[str]
) -> None:
    hints = {"temperature": request.temperature, "top_p": request.top_p, "user": request.user}
    for name, value in hints.items():
        if value is None:
            continue
        if name in drops:
            dropped.append(name)
        else:
            body[name] = value
    if request.seed is not None:
        dropped.append("seed")


def _tool(function: Mapping[str, Any]) -> dict[str, Any]:
    tool = {
        "type": "function",
        "name": function["name"],
        "parameters": function.get("parameters") or {"type": "object"},
        # Left out it would be true, which few schemas fit.
        "strict": bool(function.get("strict")),
    }
    if function.get("description"):
        tool["description"] = function["description"]
    return tool


def _choose(
    request: ChatRequest, body: dict[str, Any], traits: ModelTraits, dropped: list[str]
) -> None:
    choice = request.function_call
    if isinstance(choice, dict):
        body["tool_choice"] = {"type": "function", "name": choice["name"]}
    elif choice is not None:
        body["tool_choice"] = choice
    if request.parallel_tool_calls is not None:
        if "parallel_tool_calls" in traits.drops:
            dropped.append("parallel_tool_calls")
        else:
            body["parallel_tool_calls"] = request.parallel_tool_calls
