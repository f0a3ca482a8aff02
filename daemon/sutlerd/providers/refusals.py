"""What a model does not take and what changes the meaning of an answer: refused by name. Pure.

All dialects refuse alike. What only hints is dropped by them instead, and listed.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

from sutlerd.domain.call import ChatRequest
from sutlerd.domain.errors import InvalidParams
from sutlerd.providers.dialect import ModelTraits

#: word of ``ModelTraits.refuses`` -> where it was asked for, and what to do instead
_REFUSALS: Final[Mapping[str, tuple[str, str]]] = {
    "functions": ("functions", "the model does not call functions"),
    "forced_choice": (
        "function_call",
        "the model cannot be made to call a function; say auto, or ask for JSON of one shape "
        "with schema",
    ),
    "schema": ("schema", "the model does not keep to a schema"),
    "json_mode": ("json_mode", "the model cannot be held to JSON"),
    "stop": ("stop", "the model takes no stop sequences; cut its answer where you need to"),
    "images": ("messages", "the model does not see images"),
    "prefill": (
        "messages",
        "the model does not go on with an assistant's message; let the last one be a user's",
    ),
}


def refuse_unfit(request: ChatRequest, model: str, traits: ModelTraits) -> None:
    """Raise ``InvalidParams`` with every problem, if there is any."""
    problems = _refused(request, model, traits) if traits.refuses else []
    most = traits.max_output_tokens
    if most is not None and request.max_tokens > most:
        problems.append(f"params.max_tokens: {model} gives at most {most}")
    if not traits.capabilities.chat:
        problems.append(f"params.model: {model} gives no answers, only embeddings")
    if problems:
        raise InvalidParams(problems)


def _refused(request: ChatRequest, model: str, traits: ModelTraits) -> list[str]:
    forced = request.function_call == "required" or isinstance(request.function_call, dict)
    asked = {
        "functions": bool(request.functions),
        "forced_choice": bool(request.functions) and forced,
        "schema": request.schema is not None,
        "json_mode": request.json_mode,
        "stop": bool(request.stop),
        "images": any(has_image(message) for message in request.messages),
        "prefill": request.messages[-1]["role"] == "assistant",
    }
    return [
        f"params.{path}: {model}: {reason}"
        for word, (path, reason) in _REFUSALS.items()
        if asked[word] and word in traits.refuses
    ]


def has_image(message: Mapping[str, Any]) -> bool:
    content = message.get("content")
    return isinstance(content, list) and any(part.get("type") != "text" for part in content)


def check_word(path: str, word: object, taken: Collection[str] | None) -> None:
    """Refuse a word that is none of those ``taken``; with ``None``, only what is no word."""
    if not isinstance(word, str):
        raise InvalidParams(f"params.{path}: must be a string")
    if taken is not None and word not in taken:
        choices = f"must be one of {', '.join(sorted(taken))}" if taken else "is not taken"
        raise InvalidParams(f"params.{path}: {choices} with this model")


def check_extra(
    extra: Mapping[str, Any], reserved: Collection[str], taken: Collection[str] = ()
) -> None:
    """Refuse fields that the daemon sets itself, or that would set model, length or price."""
    problems = [
        f"params.extra.{name}: is set by the daemon, not by extra"
        for name in extra
        if name in reserved or name in taken
    ]
    if problems:
        raise InvalidParams(problems)
