"""The ``options``, thinking and context of a request in Ollama's spelling. Pure.

The context is asked for in few fixed sizes: another size makes the server load the model
anew. One that is too small would make it forget the oldest messages without a word.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sutlerd.domain.call import ChatRequest
from sutlerd.domain.errors import InvalidParams
from sutlerd.providers.dialect import ModelTraits

CONTEXT_SIZES: Final = (4_096, 8_192, 16_384, 32_768, 65_536, 131_072, 262_144)
#: Options that ``extra`` may name, by themselves or within its ``options``: sampling alone.
_SAMPLERS = frozenset(
    {
        "frequency_penalty",
        "min_p",
        "mirostat",
        "mirostat_eta",
        "mirostat_tau",
        "num_keep",
        "penalize_newline",
        "presence_penalty",
        "repeat_last_n",
        "repeat_penalty",
        "tfs_z",
        "top_k",
        "typical_p",
    }
)
_FIELDS = frozenset({"logprobs", "top_logprobs"})
_THINKING = ("think", "reasoning_effort")
#: Efforts of others, in the words that Ollama has.
_LEVELS = {"minimal": "low", "low": "low", "medium": "medium", "high": "high"}
_LEVELS |= {"xhigh": "max", "max": "max"}


def context_size(tokens_needed: int, most: int | None) -> int:
    """Give the ``num_ctx`` that holds prompt and answer, at most what the model has.

    A prompt that does not even then fit is for the server to refuse: it knows the true count.
    """
    largest = CONTEXT_SIZES[-1]
    # Beyond the table in whole steps of its last size.
    beyond = -(-tokens_needed // largest) * largest
    size = next((size for size in CONTEXT_SIZES if size >= tokens_needed), beyond)
    return size if most is None else min(size, most)


def sampling(request: ChatRequest, traits: ModelTraits, dropped: list[str]) -> dict[str, Any]:
    """Give the options that steer the words, and note what the model does not take."""
    hints = {
        "temperature": request.temperature,
        "top_p": request.top_p,
        "stop": list(request.stop) or None,
        "seed": request.seed,
    }
    drops = traits.drops_at(request.extra.get("reasoning_effort"))
    options: dict[str, Any] = {}
    for name, value in hints.items():
        if value is None:
            continue
        if name in drops:
            dropped.append(name)
        else:
            options[name] = value
    return options


def think(request: ChatRequest, traits: ModelTraits) -> bool | str:
    """Give the value of ``think``, never left out: unset means that the model thinks."""
    asked: object = request.extra.get("think")
    if asked is None:
        effort = request.extra.get("reasoning_effort", "none")
        asked = False if effort == "none" else _LEVELS.get(str(effort))
    if not isinstance(asked, bool | str) or asked not in (True, False, *_LEVELS.values()):
        raise InvalidParams(
            "params.extra: think must be true, false, low, medium, high or max; or give "
            "reasoning_effort"
        )
    modes = traits.thinking_modes
    if modes is None or asked in modes:
        return asked
    levels = [level for level in ("low", "medium", "high", "max") if level in modes]
    if not levels:
        return asked is not False
    # Such a model always thinks: least is the nearest to not at all.
    return levels[0] if asked is False else levels[len(levels) // 2 if asked is True else -1]


def take_extra(extra: Mapping[str, Any], body: dict[str, Any], options: dict[str, Any]) -> None:
    """Put the fields of ``extra`` where they belong; all that is not sampling is refused:
    the server would take no notice of it, or of its own lengths, files and slots."""
    problems = []
    inner = extra.get("options", {})
    if not isinstance(inner, dict):
        raise InvalidParams("params.extra.options: must be an object")
    given = {f"extra.{name}": (name, value) for name, value in extra.items() if name != "options"}
    given |= {f"extra.options.{name}": (name, value) for name, value in inner.items()}
    for path, (name, value) in given.items():
        if name in _SAMPLERS:
            options[name] = value
        elif path == f"extra.{name}" and name in _FIELDS:
            body[name] = value
        elif path != f"extra.{name}" or name not in _THINKING:
            problems.append(f"params.{path}: Ollama takes sampling options, think and logprobs")
    if problems:
        raise InvalidParams(problems)


def keep_alive(spelt: str) -> str | int | float:
    """Spell how long a model stays loaded: a number is one of seconds, all else a duration."""
    try:
        number = float(spelt)
    except ValueError:
        return spelt
    return int(number) if number.is_integer() else number
