"""What a scripted daemon can say: the kinds of answers, and what it says by itself."""

from hashlib import sha256
from json import dumps

from sutler.errors import MethodNotFound, SutlerError
from sutler.wire import PROTOCOL_VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, Optional, Union

DIMENSION = 8


class Asked:
    """One request as the daemon got it; ``connection`` numbers the connections from 1."""

    __slots__ = ("connection", "id", "line", "method", "params")

    def __init__(
        self, connection: int, id: "Any", method: str, params: "Dict[str, Any]", line: bytes
    ) -> None:
        self.connection = connection
        self.id = id
        self.method = method
        self.params = params
        self.line = line

    def __repr__(self) -> str:
        return "Asked(%d, %r, %r, %r)" % (self.connection, self.id, self.method, self.params)


class Chunks:
    """A stream: pieces of text (or whole chunk objects), then an answer.

    ``then`` is any answer, such as an error or `Drop`; by itself it is the whole reply.
    """

    def __init__(self, *pieces: "Union[str, Dict[str, Any]]", then: "Any" = None) -> None:
        self.pieces = pieces
        self.then = then

    def whole(self) -> "Any":
        if self.then is not None:
            return self.then
        return reply("".join(piece for piece in self.pieces if isinstance(piece, str)))


class Hold:
    """Answer when `FakeDaemon.release` is called, or with ``cancelled`` when it is cancelled."""

    def __init__(self, answer: "Any" = None) -> None:
        self.answer = answer


class Drop:
    """Close the connection, after ``first`` has been sent."""

    def __init__(self, first: bytes = b"") -> None:
        self.first = first


class Raw:
    """Send these bytes, whatever they are."""

    def __init__(self, data: bytes) -> None:
        self.data = data


def reply(content: str = "", **fields: "Any") -> "Dict[str, Any]":
    """Make a whole reply of the wire; ``fields`` replace or add."""
    whole: "Dict[str, Any]" = {
        "content": content,
        "finish_reason": "stop",
        "tool_calls": None,
        "reasoning": None,
        "parsed": None,
        "model": "fake-model",
        "provider": "fake",
        "usage": {
            "prompt_tokens": 1,
            "cached_tokens": None,
            "cache_write_tokens": None,
            "completion_tokens": 1,
            "reasoning_tokens": None,
            "total_tokens": 2,
        },
        "cost_nanousd": 0,
        "saved_nanousd": 0,
        "cached": False,
        "coalesced": False,
        "latency_ms": 0.1,
        "request_id": None,
        "trace": {"queued_ms": 0.0, "bucket": None, "attempts": [], "dropped": []},
    }
    whole.update(fields)
    return whole


def result_line(asked: Asked, result: "Any") -> bytes:
    if isinstance(result, str):
        result = reply(result)
    if isinstance(result, dict) and "request_id" in result and result["request_id"] is None:
        result = dict(result, request_id=asked.params.get("request_id"))
    return _line({"id": asked.id, "result": result})


def chunk_line(asked: Asked, piece: "Union[str, Dict[str, Any]]") -> bytes:
    fields = {"delta": piece} if isinstance(piece, str) else piece
    return _line({"method": "chunk", "params": dict(fields, id=asked.id)})


def error_line(id: "Any", error: SutlerError, request_id: "Optional[str]" = None) -> bytes:
    data = {
        "type": error.type,
        "retryable": error.retryable,
        "retry_after_s": error.retry_after_s,
        "request_id": error.request_id or request_id,
    }
    data.update(error.data)
    return _line({"id": id, "error": {"code": error.code, "message": str(error), "data": data}})


def _line(message: "Dict[str, Any]") -> bytes:
    whole = dict({"jsonrpc": "2.0"}, **message)
    return dumps(whole, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def by_itself(asked: Asked) -> "Any":
    """Answer what nobody scripted: an echo of what was asked, or something plausible."""
    params = asked.params
    if asked.method in ("complete", "chat", "json"):
        content = _last_text(params)
        if not params.get("stream"):
            return reply(content)
        return Chunks(*[word + " " for word in content.split()], then=reply(content))
    if asked.method == "prompts.run":
        return reply(dumps(params.get("variables"), ensure_ascii=False), prompt=_template(params))
    if asked.method == "prompts.render":
        said = dumps(params.get("variables"), ensure_ascii=False)
        return dict(_template(params), messages=[{"role": "user", "content": said}])
    if asked.method == "embed":
        return _embeddings(params.get("texts") or [])
    if asked.method == "count_tokens":
        tokens = len(str(params.get("text") or _last_text(params)).split())
        return {"tokens": tokens, "exact": False, "method": "words"}
    known: "Dict[str, Dict[str, Any]]" = {
        "models": {"models": [{"id": "fake-model", "provider": "fake", "default": True}]},
        "status": {"version": "0", "instance": "fake", "uptime_s": 0.0, "state": "serving"},
        "cache.stats": {"entries": 0, "size_bytes": 0, "hits": 0, "misses": 0},
        "cache.clear": {"removed": 0},
        "hello": {"protocol": PROTOCOL_VERSION, "version": "0", "instance": "fake"},
        "ping": {},
    }
    if asked.method in known:
        return known[asked.method]
    return MethodNotFound("no such method: %s" % asked.method)


def _last_text(params: "Dict[str, Any]") -> str:
    if "prompt" in params:
        return str(params["prompt"])
    messages: "List[Dict[str, Any]]" = params.get("messages") or [{}]
    return str(messages[-1].get("content") or "")


def _template(params: "Dict[str, Any]") -> "Dict[str, str]":
    name = str(params.get("name"))
    return {"name": name, "version": "1.0", "hash": sha256(name.encode()).hexdigest()}


def _embeddings(texts: "List[str]") -> "Dict[str, Any]":
    """Give each text a vector of its own, always the same."""
    from base64 import b64encode
    from struct import pack

    vectors = []
    for text in texts:
        numbers = [byte / 255 for byte in sha256(text.encode()).digest()[:DIMENSION]]
        vectors.append(b64encode(pack("<%df" % DIMENSION, *numbers)).decode())
    return {
        "embeddings": vectors,
        "model": "fake-embed",
        "provider": "fake",
        "dimension": DIMENSION,
        "usage": {"prompt_tokens": len(texts), "total_tokens": len(texts)},
        "cost_nanousd": 0,
        "cached": 0,
        "request_id": None,
    }
