"""Chat and embedding requests in Ollama's own spelling. Pure and deterministic.

Nothing is left to the server's defaults that would change an answer in silence: it streams,
thinks, cuts prompts and slides its context unless told otherwise.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson

from sutlerd.domain.call import ChatRequest, EmbedRequest
from sutlerd.domain.errors import InvalidParams
from sutlerd.providers.contract import BuiltRequest
from sutlerd.providers.dialect import ModelTraits
from sutlerd.providers.estimate import estimate_tokens
from sutlerd.providers.ollama_messages import instruct, spell_messages
from sutlerd.providers.ollama_options import (
    context_size,
    keep_alive,
    sampling,
    take_extra,
    think,
)
from sutlerd.providers.refusals import refuse_unfit


def build_chat(
    request: ChatRequest, model: str, traits: ModelTraits, keep: str | None
) -> BuiltRequest:
    """Spell a chat. ``keep`` is how long the model stays loaded, ``None``: as the server has it."""
    # There is no field for a choice on this wire.
    refuse_unfit(request, model, replace(traits, refuses=traits.refuses | {"forced_choice"}))
    dropped: list[str] = []
    messages = spell_messages(request.messages, dropped)
    body: dict[str, Any] = {"model": model, "stream": False, "truncate": False, "shift": False}
    _ask_for_format(request, messages, body, traits)
    body["messages"] = messages
    options = sampling(request, traits, dropped)
    options["num_predict"] = request.max_tokens
    body["think"] = think(request, traits)
    if request.functions and request.function_call != "none":
        body["tools"] = [_tool(function, dropped) for function in request.functions]
    if request.user is not None:
        dropped.append("user")
    if request.parallel_tool_calls is not None:
        dropped.append("parallel_tool_calls")
    take_extra(request.extra, body, options)
    needed = prompt_estimate(body) + request.max_tokens
    options["num_ctx"] = context_size(needed, traits.capabilities.context_tokens)
    body["options"] = options
    if keep is not None:
        body["keep_alive"] = keep_alive(keep)
    return BuiltRequest(
        model=model, path="/api/chat", body=body, dropped=tuple(dict.fromkeys(dropped))
    )


def build_embed(
    request: EmbedRequest, model: str, traits: ModelTraits, keep: str | None
) -> BuiltRequest:
    if request.extra:
        raise InvalidParams(
            [f"params.extra.{name}: Ollama takes nothing more with texts" for name in request.extra]
        )
    body: dict[str, Any] = {"model": model, "input": list(request.texts), "truncate": False}
    if request.dimensions is not None:
        body["dimensions"] = request.dimensions
    if keep is not None:
        body["keep_alive"] = keep_alive(keep)
    return BuiltRequest(model=model, path="/api/embed", body=body)


def prompt_estimate(body: dict[str, Any]) -> int:
    """Estimate the tokens of a spelt prompt, its functions and format counted in."""
    tokens = 0
    for message in body["messages"]:
        images = len(message.get("images", ()))
        plain = {name: value for name, value in message.items() if name != "images"}
        parts = [{"type": "image"}] * images
        tokens += estimate_tokens([plain, {"content": parts}] if images else [plain]).tokens
    for name in ("tools", "format"):
        if name in body:
            tokens += estimate_tokens(orjson.dumps(body[name]).decode()).tokens
    return tokens


def _tool(function: dict[str, Any], dropped: list[str]) -> dict[str, Any]:
    if function.get("strict"):
        dropped.append("strict")
    kept = {k: v for k, v in function.items() if v is not None and k != "strict"}
    return {"type": "function", "function": kept}


def _ask_for_format(
    request: ChatRequest,
    messages: list[dict[str, Any]],
    body: dict[str, Any],
    traits: ModelTraits,
) -> None:
    if request.schema is not None:
        if traits.native_schema:
            body["format"] = request.schema
            return
        spelt = orjson.dumps(request.schema, option=orjson.OPT_SORT_KEYS).decode()
        instruct(messages, f"Answer with JSON alone that fits this JSON Schema: {spelt}")
    elif request.json_mode:
        # The grammar allows blanks without end: a model that was not told of JSON takes them.
        if not any("json" in message["content"].lower() for message in messages):
            instruct(messages, "Answer with JSON alone.")
    else:
        return
    if traits.native_json_mode:
        body["format"] = "json"
