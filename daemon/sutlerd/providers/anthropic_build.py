"""Requests in the spelling of Anthropic's Messages. Pure and deterministic: equal requests
give equal bodies, which is what makes them one cache entry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from sutlerd.domain.call import ChatRequest
from sutlerd.domain.errors import InvalidParams
from sutlerd.providers.anthropic_messages import spell_messages
from sutlerd.providers.anthropic_schema import DoesNotFit, fit_schema
from sutlerd.providers.contract import BuiltRequest
from sutlerd.providers.dialect import ModelTraits
from sutlerd.providers.estimate import estimate_tokens
from sutlerd.providers.instructions import JSON_ALONE, schema_in_words
from sutlerd.providers.refusals import check_extra, check_word, refuse_unfit

#: Fields of ``extra`` that would set model, length, price or what the daemon sets itself.
_RESERVED = frozenset(
    {
        "model",
        "messages",
        "max_tokens",
        "system",
        "tools",
        "tool_choice",
        "stop_sequences",
        "stream",
        "metadata",
        "service_tier",
        "speed",
        "inference_geo",
        "cache_control",
        "container",
        "context_management",
        "mcp_servers",
        "output_format",
        "fallbacks",
        "user_profile_id",
        "workspace_id",
    }
)
_CHOICES = {"auto": "auto", "required": "any", "none": "none"}
#: Below this the wire takes no budget for thinking.
_LEAST_BUDGET = 1024


def build_messages(
    request: ChatRequest, model: str, traits: ModelTraits, *, mark_prefix: bool, provider: str
) -> BuiltRequest:
    """Spell a request. ``mark_prefix``: tools and instructions that are long enough are marked
    to be kept by the provider for the next request that begins with them."""
    refuse_unfit(request, model, traits)
    dropped: list[str] = []
    instructions, turns = spell_messages(request.messages, dropped, route=f"{provider}/{model}")
    body: dict[str, Any] = {"model": model, "max_tokens": request.max_tokens, "messages": turns}
    _ask_for_format(request, instructions, body, traits)
    if instructions:
        body["system"] = "\n\n".join(instructions)
    if request.functions:
        body["tools"] = [_tool(f, place) for place, f in enumerate(request.functions)]
        _choose(request, body)
    if request.stop:
        body["stop_sequences"] = list(request.stop)
    if request.user is not None:
        body["metadata"] = {"user_id": request.user}
    _hint(request, body, traits, dropped)
    _extra(request, body, traits, dropped)
    if mark_prefix and traits.cache_from_tokens is not None:
        _mark_prefix(body, traits.cache_from_tokens / traits.estimate_factor)
    told = tuple(dict.fromkeys(dropped))
    return BuiltRequest(model=model, path="/v1/messages", body=body, dropped=told)


def build_count(asked: str | Sequence[dict[str, Any]], model: str) -> BuiltRequest:
    """Spell a request that counts a bare text, or the prompt that messages become."""
    messages = [{"role": "user", "content": asked}] if isinstance(asked, str) else asked
    instructions, turns = spell_messages(messages, [])
    body: dict[str, Any] = {"model": model, "messages": turns}
    if instructions:
        body["system"] = "\n\n".join(instructions)
    return BuiltRequest(model=model, path="/v1/messages/count_tokens", body=body)


def _ask_for_format(
    request: ChatRequest, instructions: list[str], body: dict[str, Any], traits: ModelTraits
) -> None:
    if request.schema is not None:
        if traits.native_schema:
            try:
                fitted = fit_schema(request.schema)
            except DoesNotFit:
                pass  # then in words, like any schema where there is no better means
            else:
                body["output_config"] = {"format": {"type": "json_schema", "schema": fitted}}
                return
        instructions.append(schema_in_words(request.schema))
    elif request.json_mode:
        instructions.append(JSON_ALONE)


def _tool(function: Mapping[str, Any], place: int) -> dict[str, Any]:
    schema = {"type": "object", **(function.get("parameters") or {})}
    path = f"params.functions[{place}]"
    if schema["type"] != "object":
        raise InvalidParams(f"{path}.parameters.type: must be object")
    tool: dict[str, Any] = {"name": function["name"]}
    if function.get("description"):
        tool["description"] = function["description"]
    if function.get("strict"):
        # An object without properties is one that holds nothing.
        schema.setdefault("additionalProperties", False)
        try:
            schema = fit_schema(schema)
        except DoesNotFit as error:
            raise InvalidParams(f"{path}.strict: cannot be kept to here: {error}") from None
        tool["strict"] = True
    tool["input_schema"] = schema
    return tool


def _choose(request: ChatRequest, body: dict[str, Any]) -> None:
    choice = request.function_call
    if isinstance(choice, dict):
        spelt: dict[str, Any] | None = {"type": "tool", "name": choice["name"]}
    else:
        spelt = None if choice is None else {"type": _CHOICES[choice]}
    if request.parallel_tool_calls is False and choice != "none":
        spelt = {**(spelt or {"type": "auto"}), "disable_parallel_tool_use": True}
    if spelt is not None:
        body["tool_choice"] = spelt


def _hint(
    request: ChatRequest, body: dict[str, Any], traits: ModelTraits, dropped: list[str]
) -> None:
    """Send sampling hints to those that take them; this wire has no seed at all."""
    for name, value in (("temperature", request.temperature), ("top_p", request.top_p)):
        if value is None:
            continue
        if name in traits.drops:
            dropped.append(name)
        else:
            body[name] = value
    if request.seed is not None:
        dropped.append("seed")


def _extra(
    request: ChatRequest, body: dict[str, Any], traits: ModelTraits, dropped: list[str]
) -> None:
    """Add the fields that are passed through; thinking and effort as far as the model goes."""
    extra = dict(request.extra)
    config = extra.pop("output_config", {})
    # Every wire's word for the same: a call may fall back from another provider to this one.
    effort = extra.pop("reasoning_effort", None)
    if not isinstance(config, dict) or "format" in config:
        raise InvalidParams("params.extra.output_config: must be an object without format")
    if effort is not None:
        config = {"effort": effort, **config}
    if "effort" in config:
        check_word("extra.output_config.effort", config["effort"], traits.efforts)
    if config:
        body["output_config"] = {**body.get("output_config", {}), **config}
    if "thinking" in extra:
        _check_thinking(extra["thinking"], request.max_tokens, traits)
    for name in [name for name in extra if name in traits.drops]:
        del extra[name]
        dropped.append(name)
    check_extra(extra, _RESERVED, body)
    body.update(extra)


def _check_thinking(thinking: Any, max_tokens: int, traits: ModelTraits) -> None:
    if not isinstance(thinking, dict):
        raise InvalidParams("params.extra.thinking: must be an object")
    check_word("extra.thinking.type", thinking.get("type"), traits.thinking_modes)
    if thinking["type"] != "enabled":
        return
    budget = thinking.get("budget_tokens")
    fits = isinstance(budget, int) and _LEAST_BUDGET <= budget < max_tokens
    if not fits or isinstance(budget, bool):
        raise InvalidParams(
            f"params.extra.thinking.budget_tokens: must be at least {_LEAST_BUDGET} and less "
            "than max_tokens"
        )


def _mark_prefix(body: dict[str, Any], from_tokens: float) -> None:
    """Mark the last tool, and the instructions, if what they end is long enough to be kept.

    The count is an estimate on the high side: a mark on too short a prefix is free.
    """
    mark = {"cache_control": {"type": "ephemeral"}}
    tokens = 0
    tools = body.get("tools")
    if tools:
        tokens = estimate_tokens(orjson.dumps(tools).decode()).tokens
        if tokens >= from_tokens:
            tools[-1] = {**tools[-1], **mark}
    system = body.get("system")
    if system and tokens + estimate_tokens(system).tokens >= from_tokens:
        body["system"] = [{"type": "text", "text": system, **mark}]
