"""What was asked, in the one form that a recording keeps it in. Pure.

The form is what the caller asked, however it was spelt: no uid, no addresses and labels,
nothing of the configuration. Beside it stands whose question it is among those of one program,
by which equal ones are told apart: a component and a rank are the same in every run.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

import orjson

from sutlerd.domain.call import ChatRequest, Labels
from sutlerd.domain.caller import Caller
from sutlerd.domain.record import record

if TYPE_CHECKING:
    from sutlerd.pipeline.params import CountTokensParams, EmbedParams, Options

#: Says nothing, as if it were left out.
_NOTHING: Final[tuple[Any, ...]] = (None, [], {})


@record
class Voice:
    """Who asks, within a program of several: as labelled, ``None`` where it is not."""

    component: str | None = None
    rank: str | None = None


@record
class Question:
    """A request as a recording knows it. ``again`` is the same for one that is sent again, and
    ``None`` for one that has no id of its caller's."""

    asked: Mapping[str, Any]
    key: bytes
    voice: Voice = Voice()
    again: tuple[int, str] | None = None


def question(
    asked: Mapping[str, Any], *, caller: Caller, labels: Labels, request_id: str | None
) -> Question:
    """``request_id`` is the one that the caller gave, if any."""
    return Question(
        asked=asked,
        key=key_of(asked),
        voice=Voice(component=labels.component, rank=labels.rank),
        again=None if request_id is None else (caller.uid, request_id),
    )


def key_of(asked: Mapping[str, Any]) -> bytes:
    """Name a canonical request; the order of keys does not matter, at any depth."""
    return hashlib.sha256(orjson.dumps(asked, option=orjson.OPT_SORT_KEYS)).digest()


def chat_asked(
    options: Options, request: ChatRequest, *, model: str | None, prompt_hash: str | None
) -> dict[str, Any]:
    """Give the form of a request for a reply. ``model`` is the one that the caller named."""
    says_length = options.max_tokens is not None or options.max_completion_tokens is not None
    return _said(
        "chat",
        messages=list(request.messages),
        prompt_hash=prompt_hash,
        model=model,
        provider=options.provider,
        temperature=request.temperature,
        top_p=request.top_p,
        max_tokens=request.max_tokens if says_length else None,
        stop=list(request.stop),
        seed=request.seed,
        user=request.user,
        functions=list(request.functions),
        function_call=request.function_call,
        parallel_tool_calls=request.parallel_tool_calls,
        json_mode=request.json_mode or None,
        schema=request.schema,
        extra=request.extra,
        sample=options.sample,
    )


def embed_asked(params: EmbedParams) -> dict[str, Any]:
    return _said(
        "embed",
        texts=params.texts,
        model=params.model,
        provider=params.provider,
        dimensions=params.dimensions,
        encoding_format=params.encoding_format,
        user=params.user,
        extra=params.extra,
    )


def count_asked(params: CountTokensParams, messages: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    return _said(
        "count_tokens",
        text=params.text,
        messages=list(messages),
        model=params.model,
        provider=params.provider,
        ask_provider=params.ask_provider or None,
    )


def _said(kind: str, **members: Any) -> dict[str, Any]:
    return {"kind": kind} | {
        name: value for name, value in members.items() if value not in _NOTHING
    }
