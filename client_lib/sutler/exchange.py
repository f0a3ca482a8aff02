"""Requests to lines, bytes to events. No socket, no clock, no lock.

An event is ``(id, kind, payload)``; kinds and payloads are told in `sutler.pending`. What is
not understood (other notifications, unknown fields) is ignored, so that a newer daemon can
say more.
"""

from itertools import count
from json import JSONDecoder, JSONEncoder

from sutler.errors import InvalidRequest
from sutler.pending import CHUNK, ERROR, GARBAGE, RESULT
from sutler.wire import MAX_LINE_BYTES, MAX_NESTING

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, Optional, Tuple

    Event = Tuple[Optional[int], int, Any]

#: A reply that is still longer than this is taken for garbage. Far above what the largest
#: request can ask for, so only a daemon gone mad meets it.
MAX_REPLY_BYTES = 1024 * 1024 * 1024

#: The request object and its ``params`` are the outer two levels of a line.
_PARAMS_LEVEL = 2
_MIN_INT, _MAX_INT = -(2**63), 2**64 - 1

# What is circular is found by the check of nesting, which every line passes first.
_encode = JSONEncoder(
    ensure_ascii=False, allow_nan=False, check_circular=False, separators=(",", ":")
).encode
_decode = JSONDecoder().raw_decode


class Exchange:
    """One connection's half of the protocol. Ids are numbers, each used once."""

    __slots__ = ("_broken", "_held_bytes", "_ids", "_max_reply_bytes", "_parts")

    def __init__(self, max_reply_bytes: int = MAX_REPLY_BYTES) -> None:
        self._ids = count(1)
        self._max_reply_bytes = max_reply_bytes
        self._parts: "List[bytes]" = []
        self._held_bytes = 0
        self._broken = False

    def new_id(self) -> int:
        return next(self._ids)

    def receive(self, data: bytes) -> "List[Event]":
        """Take the next bytes, split anywhere; give the events they complete, in order."""
        end = data.rfind(b"\n")
        if end < 0:
            return self._hold(data)
        if end == len(data) - 1 and not self._parts and data.find(b"\n") == end:
            event = None if self._broken else self._event(data)
            return [] if event is None else [event]
        block = data[:end]
        if self._parts:
            self._parts.append(block)
            block = b"".join(self._parts)
            self._parts = []
            self._held_bytes = 0
        events: "List[Event]" = []
        for line in block.split(b"\n"):
            if self._broken:
                return events
            event = self._event(line)
            if event is not None:
                events.append(event)
        if end + 1 < len(data):
            events += self._hold(data[end + 1 :])
        return events

    def _hold(self, data: bytes) -> "List[Event]":
        if self._broken:
            return []
        self._parts.append(data)
        self._held_bytes += len(data)
        if self._held_bytes <= self._max_reply_bytes:
            return []
        return [self._garbage("a line over %d bytes" % self._max_reply_bytes)]

    def _garbage(self, what: str) -> "Event":
        self._broken = True
        self._parts = []
        return (None, GARBAGE, "the daemon sent " + what)

    def _event(self, line: bytes) -> "Optional[Event]":
        try:
            text = line.decode()
            try:
                message, end = _decode(text)
            except ValueError:
                # White space around a message is allowed, but nobody sends it: not worth a
                # look on the fast path.
                text = text.strip()
                if not text:
                    return None
                message, end = _decode(text)
        except (ValueError, RecursionError):
            return self._garbage("what is not JSON: %.80r" % line.rstrip())
        rest = text[end:]
        if (rest != "\n" and rest.strip()) or not isinstance(message, dict):
            return self._garbage("what is not one object: %.80r" % line.rstrip())
        return self._classified(message)

    def _classified(self, message: "Dict[str, Any]") -> "Optional[Event]":
        number, kind, payload = message.get("id"), RESULT, message.get("result")
        if payload is not None:
            pass
        elif "method" in message:
            payload = message.get("params")
            if message["method"] != "chunk" or not isinstance(payload, dict):
                return None
            number, kind = payload.get("id"), CHUNK
        elif isinstance(message.get("error"), dict):
            kind, payload = ERROR, message["error"]
        elif "result" not in message:
            return self._garbage("neither a result nor an error: %.80r" % (message,))
        if number is None or type(number) is int:
            return (number, kind, payload)
        return self._garbage("an id that nobody gave it: %.80r" % (number,))


def line(number: int, method: str, params: "Dict[str, Any]") -> bytes:
    """Write one request; raises InvalidRequest for what the protocol does not allow."""
    if not _fits(params, _PARAMS_LEVEL):
        raise InvalidRequest(_problem(params, "params", _PARAMS_LEVEL) or "params: not JSON")
    try:
        text = '{"jsonrpc":"2.0","id":%d,"method":%s,"params":%s}\n'
        encoded = (text % (number, _quoted(method), _encode(params))).encode()
    except (TypeError, ValueError) as error:
        problem = _problem(params, "params", _PARAMS_LEVEL)
        raise InvalidRequest(problem or "params: %s" % error) from None
    if len(encoded) > MAX_LINE_BYTES + 1:
        raise InvalidRequest(
            "the request is a line of %d bytes; the limit is %d. Nothing was sent: ask in"
            " smaller parts" % (len(encoded) - 1, MAX_LINE_BYTES),
            data={"size_bytes": len(encoded) - 1, "limit_bytes": MAX_LINE_BYTES},
        )
    return encoded


def _quoted(method: str) -> str:
    return '"%s"' % method if method.isidentifier() and method.isascii() else _encode(method)


def _fits(value: "Any", level: int) -> bool:
    """Check what the encoder lets pass: nesting, keys that are not strings, huge integers."""
    if level > MAX_NESTING:
        return False
    if isinstance(value, dict):
        for key in value:
            if key.__class__ is not str and not isinstance(key, str):
                return False
        value = value.values()
    for item in value:
        if item.__class__ is str:
            continue
        if isinstance(item, (dict, list, tuple)):
            if not _fits(item, level + 1):
                return False
        elif isinstance(item, int) and not _MIN_INT <= item <= _MAX_INT:
            return False
    return True


def _problem(value: "Any", path: str, level: int) -> "Optional[str]":
    """Find the first thing that cannot be sent, and say where it is."""
    if isinstance(value, (dict, list, tuple)):
        if level > MAX_NESTING:
            return "%.200s: nested deeper than %d levels" % (path, MAX_NESTING)
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in pairs:
            named = isinstance(value, dict)
            if named and not isinstance(key, str):
                return "%.200s: the key %.80r is not a string" % (path, key)
            where = "%s.%s" % (path, key) if named else "%s[%d]" % (path, key)
            problem = (_unsendable(key, where) if named else None) or _problem(
                item, where, level + 1
            )
            if problem is not None:
                return problem
        return None
    return _unsendable(value, path)


def _unsendable(value: "Any", path: str) -> "Optional[str]":
    where = path[:200].encode(errors="backslashreplace").decode()
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError as error:
            return "%s: a lone surrogate at index %d is not UTF-8" % (where, error.start)
    elif isinstance(value, float):
        if value != value or value in (float("inf"), float("-inf")):
            return "%s: %r is not JSON" % (where, value)
    elif isinstance(value, int):
        if not _MIN_INT <= value <= _MAX_INT:
            return "%s: an integer beyond 64 bits would not arrive unchanged" % where
    elif value is not None:
        return "%s: %s is not JSON" % (where, type(value).__name__)
    return None
