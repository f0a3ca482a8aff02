"""What a scripted provider may say: steps on a socket, and answers made of them.

Steps are plain data, so that an answer can travel through a control file to another process.
Builders of whole answers in OpenAI's shape are here because most tests want those; a dialect
with another shape builds its own from ``http_answer`` and ``sse_answer``.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Send:
    data: bytes


@dataclass(frozen=True)
class Trickle:
    """Send ``data`` in pieces of ``size`` bytes, ``every_s`` seconds apart."""

    data: bytes
    every_s: float = 0.0
    size: int = 1


@dataclass(frozen=True)
class Forever:
    """Send ``data`` again and again until the peer is gone."""

    data: bytes
    every_s: float = 0.0


@dataclass(frozen=True)
class Wait:
    seconds: float


@dataclass(frozen=True)
class Gate:
    """Wait until the test opens the gate of this name, or the peer is gone."""

    name: str


@dataclass(frozen=True)
class Hang:
    """Say nothing more until the peer is gone."""


@dataclass(frozen=True)
class HalfClose:
    """Close the sending half in good order, then read on."""


@dataclass(frozen=True)
class Close:
    """Close in good order."""


@dataclass(frozen=True)
class Reset:
    """Close with a TCP reset (SO_LINGER 0)."""


Step = Send | Trickle | Forever | Wait | Gate | Hang | HalfClose | Close | Reset
_STEPS: dict[str, type[Any]] = {
    kind.__name__: kind
    for kind in (Send, Trickle, Forever, Wait, Gate, Hang, HalfClose, Close, Reset)
}


@dataclass(frozen=True)
class Answer:
    """Steps that follow one request, and what the provider charges for it.

    ``tokens_in`` and ``tokens_out`` go on the provider's bill as soon as the request is
    read, whatever becomes of the steps: a provider bills what it was asked.
    """

    steps: tuple[Step, ...]
    tokens_in: int = 0
    tokens_out: int = 0

    def to_json(self) -> dict[str, Any]:
        """Give plain data for a control file."""
        steps = []
        for step in self.steps:
            fields = asdict(step)
            if "data" in fields:
                fields["data"] = base64.b64encode(fields["data"]).decode()
            steps.append({"step": type(step).__name__, **fields})
        return {"steps": steps, "tokens_in": self.tokens_in, "tokens_out": self.tokens_out}

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> Answer:
        steps = []
        for item in plain["steps"]:
            fields = {name: value for name, value in item.items() if name != "step"}
            if "data" in fields:
                fields["data"] = base64.b64decode(fields["data"])
            steps.append(_STEPS[item["step"]](**fields))
        return cls(tuple(steps), plain["tokens_in"], plain["tokens_out"])


def head(status: int = 200, headers: Mapping[str, str | int] | None = None) -> bytes:
    """Give a status line and headers, empty line included."""
    lines = [f"HTTP/1.1 {status} Scripted"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return "\r\n".join([*lines, "", ""]).encode()


def chunked(data: bytes) -> bytes:
    """Give one piece of a chunked body; of nothing, the end of it."""
    return b"%x\r\n%s\r\n" % (len(data), data)


def raw(*parts: bytes, tokens_in: int = 0, tokens_out: int = 0) -> Answer:
    return Answer(tuple(Send(part) for part in parts), tokens_in, tokens_out)


def http_answer(
    body: object,
    *,
    status: int = 200,
    headers: Mapping[str, str | int] | None = None,
    content_type: str = "application/json",
    tokens_in: int = 0,
    tokens_out: int = 0,
) -> Answer:
    """Give a whole answer with its length; ``body`` is bytes, or data to be spelt as JSON."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    fields = {"content-type": content_type, "content-length": len(data), **(headers or {})}
    return Answer((Send(head(status, fields) + data),), tokens_in, tokens_out)


def sse(*events: object) -> bytes:
    """Give ``data:`` events; strings go verbatim, all else as JSON."""
    return b"".join(
        b"data: " + (event if isinstance(event, str) else json.dumps(event)).encode() + b"\n\n"
        for event in events
    )


def stream_answer(
    *parts: bytes | Step,
    headers: Mapping[str, str | int] | None = None,
    content_type: str = "text/event-stream",
    end: bool = True,
    tokens_in: int = 0,
    tokens_out: int = 0,
) -> Answer:
    """Give a chunked answer: bytes become a chunk each, steps go between them."""
    fields = {"content-type": content_type, "transfer-encoding": "chunked", **(headers or {})}
    steps: list[Step] = [Send(head(200, fields))]
    steps += [Send(chunked(part)) if isinstance(part, bytes) else part for part in parts]
    if end:
        steps.append(Send(chunked(b"")))
    return Answer(tuple(steps), tokens_in, tokens_out)


# --- OpenAI's shape -------------------------------------------------------------------


def usage(tokens_in: int = 9, tokens_out: int = 3, cached: int = 0) -> dict[str, Any]:
    """``cached`` of the tokens in came from the provider's own cache."""
    details = {"prompt_tokens_details": {"cached_tokens": cached}} if cached else {}
    return {
        "prompt_tokens": tokens_in,
        "completion_tokens": tokens_out,
        "total_tokens": tokens_in + tokens_out,
        **details,
    }


def openai_chat(
    content: str | None = "4",
    *,
    model: str = "test-model",
    finish_reason: str | None = "stop",
    tokens_in: int = 9,
    tokens_out: int = 3,
    cached: int = 0,
    headers: Mapping[str, str | int] | None = None,
    **message: Any,
) -> Answer:
    """Give a whole chat completion, billed as its usage says."""
    choice = {
        "index": 0,
        "finish_reason": finish_reason,
        "message": {"role": "assistant", "content": content, **message},
    }
    body = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": model,
        "choices": [choice],
        "usage": usage(tokens_in, tokens_out, cached),
    }
    return http_answer(body, headers=headers, tokens_in=tokens_in, tokens_out=tokens_out)


def openai_chunk(
    *, finish_reason: str | None = None, model: str = "test-model", **delta: Any
) -> dict[str, Any]:
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": model,
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}],
    }


def openai_stream(
    pieces: Sequence[str] = ("The", " answer", " is 4"),
    *,
    tokens_in: int = 9,
    tokens_out: int = 3,
    cached: int = 0,
    between: Iterable[Step] = (),
) -> Answer:
    """Give a whole chat stream with usage, billed so; ``between`` follows the first piece."""
    parts: list[bytes | Step] = [sse(openai_chunk(role="assistant", content=""))]
    for number, piece in enumerate(pieces):
        parts.append(sse(openai_chunk(content=piece)))
        if number == 0:
            parts += between
    last = {**openai_chunk(), "choices": [], "usage": usage(tokens_in, tokens_out, cached)}
    parts += [sse(openai_chunk(finish_reason="stop")), sse(last, "[DONE]")]
    return stream_answer(*parts, tokens_in=tokens_in, tokens_out=tokens_out)


def openai_error(
    status: int,
    message: str = "scripted failure",
    *,
    type: str | None = None,
    code: str | int | None = None,
    headers: Mapping[str, str | int] | None = None,
) -> Answer:
    error = {"message": message, "type": type, "param": None, "code": code}
    return http_answer({"error": error}, status=status, headers=headers)


def openai_embeddings(
    vectors: Sequence[Sequence[float] | str], *, model: str = "test-embed", tokens_in: int = 5
) -> Answer:
    data = [
        {"object": "embedding", "index": index, "embedding": vector}
        for index, vector in enumerate(vectors)
    ]
    counts = {"prompt_tokens": tokens_in, "total_tokens": tokens_in}
    body = {"object": "list", "data": data, "model": model, "usage": counts}
    return http_answer(body, tokens_in=tokens_in)
