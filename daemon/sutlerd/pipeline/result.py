"""Replies as bytes: what is the same for everyone, made once, and what is each caller's own."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import orjson

from sutlerd.domain.call import PromptUse
from sutlerd.domain.record import record
from sutlerd.domain.reply import Delta, Reply, ToolCallDelta


@dataclass(kw_only=True)
class Answer:
    """A whole reply ready to be given to any number of callers.

    ``payload`` is the JSON object of the reply's shared part, as it is stored: the reply and
    ``saved_nanousd``, what it cost when it was bought (null where nobody can say).
    ``cached`` says that it came from the store. ``cost_nanousd`` is what this flight cost.
    ``by`` is who gave it, where that is known without reading the payload.
    """

    payload: bytes
    cached: bool
    cost_nanousd: int | None = 0
    trace: dict[str, Any] = field(default_factory=dict)
    by: Served | None = None

    @property
    def served(self) -> Served:
        if self.by is None:
            self.by = served_from(self.payload)
        return self.by

    @cached_property
    def reply(self) -> dict[str, Any]:
        read: dict[str, Any] = orjson.loads(self.payload)
        return read

    def pieces(self) -> list[bytes]:
        """Give the reply as a stream's pieces, for who asked for a stream."""
        reply = self.reply
        calls = tuple(
            ToolCallDelta(
                index=place,
                id=call["id"],
                name=call["function"]["name"],
                arguments=call["function"]["arguments"],
            )
            for place, call in enumerate(reply["tool_calls"] or ())
        )
        whole = (
            Delta(reasoning=reply["reasoning"] or ""),
            Delta(content=reply["content"]),
            Delta(tool_calls=calls),
        )
        return encode_pieces(delta for delta in whole if delta != Delta())


@record
class Served:
    """Who gave an answer and what it cost when it was bought, ``None`` where nobody can say."""

    provider: str
    model: str
    saved_nanousd: int | None


def served_ending(payload: bytes) -> bytes:
    """Give the end of a payload from its model on: the same for all answers that one model
    gave with the same use at the same price."""
    return payload[max(payload.rfind(_MODEL), 0) :]


def served_from(payload: bytes) -> Served:
    """Read who gave an answer, without reading the answer."""
    # Within a string of JSON the quotes would be escaped, and what may hold objects of others
    # stands before the model.
    read = orjson.loads(b"{" + served_ending(payload)[1:])
    return Served(
        provider=read["provider"], model=read["model"], saved_nanousd=read["saved_nanousd"]
    )


def encode_payload(
    reply: Reply, *, cost_nanousd: int | None, prompt: PromptUse | None = None
) -> bytes:
    """Write the shared part of a reply, as it is stored and spliced into results."""
    # Ahead of the model: what stands behind it is the same for many answers.
    made_from = {} if prompt is None else {"prompt": prompt.to_wire()}
    return orjson.dumps({**made_from, **reply.to_wire(), "saved_nanousd": cost_nanousd})


def encode_pieces(deltas: Iterable[Delta]) -> list[bytes]:
    """Write each delta as the members of a chunk's ``params``, without the id."""
    pieces = []
    for delta in deltas:
        if delta.content and not delta.reasoning and not delta.tool_calls:
            pieces.append(b'"delta":' + orjson.dumps(delta.content))
            continue
        members: dict[str, Any] = {"delta": delta.content}
        if delta.reasoning:
            members["reasoning"] = delta.reasoning
        if delta.tool_calls:
            members["tool_calls"] = [call.to_wire() for call in delta.tool_calls]
        pieces.append(orjson.dumps(members)[1:-1])
    return pieces


_MODEL = b',"model":'
_NO_TRACE = b'{"queued_ms":0.0,"bucket":null,"attempts":[],"dropped":[]}'
_NOTHING_SAVED = b',"saved_nanousd":'


def compose_hit(payload: bytes, *, latency_ms: float, request_id: str) -> bytes:
    """Write the result object of a stored answer: ``compose`` of a hit, in one piece, because
    this is on the way of every one of them."""
    return (
        b'%b,"cost_nanousd":0,"cached":true,"coalesced":false,"latency_ms":%.3f,"request_id":"%b","trace":%b}'
        % (
            payload[:-1],
            latency_ms,
            request_id.encode(),
            _NO_TRACE,
        )
    )


def compose(
    answer: Answer,
    *,
    coalesced: bool,
    latency_ms: float,
    request_id: str,
) -> bytes:
    """Write one caller's result object.

    The opener of a flight paid for it and saved nothing; who was given a stored or a shared
    answer paid nothing and saved its price.
    """
    free = answer.cached or coalesced
    cost = 0 if free else answer.cost_nanousd
    shared, _, price = answer.payload.rpartition(_NOTHING_SAVED)
    saved = price[:-1] if free else b"0"
    trace = orjson.dumps(answer.trace) if answer.trace else _NO_TRACE
    return b"".join(
        (
            shared,
            _NOTHING_SAVED,
            saved,
            b',"cost_nanousd":%b,"cached":%b,"coalesced":%b,"latency_ms":%.3f,"request_id":"%b","trace":%b}'
            % (
                b"null" if cost is None else b"%d" % cost,
                b"true" if answer.cached else b"false",
                b"true" if coalesced else b"false",
                latency_ms,
                request_id.encode(),
                trace,
            ),
        )
    )
