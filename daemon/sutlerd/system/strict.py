"""JSON as strictly as the wire wants it, at C speed, with work linear in the bytes.

orjson refuses bad UTF-8, NaN, infinities and lone surrogates by itself, and gives up on what
is nested a thousand deep; but it keeps the last of duplicate keys in silence. Nesting and
keys are counted in what it read, and compared with the text. Nothing here recurses, and what
would hold the event loop for long (hundreds of thousands of values) is refused before it is
read.
"""

from __future__ import annotations

import json
import re
from typing import Any

import orjson

from sutler.wire import MAX_NESTING
from sutlerd.domain.errors import ParseError

#: Commas, colons and opening brackets outside of strings: about as many as there are values.
MAX_MARKS = 131_072
#: Lines up to here are compared with what orjson writes: most clients write just that.
_SHORT_BYTES = 64 * 1024
#: How orjson says it, in its newer and older versions.
_TOO_DEEP = re.compile(r"depth limit|[Rr]ecursion limit")
_CONSTANT = re.compile(rb"-?\b(?:NaN|Infinity)\b")
_SHOWN_BYTES = 100
_NAMED_BYTES = 1024 * 1024


def loads(line: bytes) -> Any:
    """Parse one line; raise ``ParseError`` for all that is not strict JSON."""
    is_short = len(line) <= _SHORT_BYTES
    if not is_short:
        _check_marks(line)
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise ParseError(_describe(line, error), line_start=_shown(line)) from None
    shallow = line.count(b"[") + line.count(b"{") <= MAX_NESTING
    if is_short and shallow and orjson.dumps(value) == line:
        return value
    depth, keys = _measure(value)
    if depth > MAX_NESTING:
        raise ParseError(f"nested deeper than {MAX_NESTING}")
    if line.count(b":") != keys and _outside_strings(line).count(b":") != keys:
        raise ParseError(f"duplicate key {_first_duplicate(line)}: every key may stand once")
    return value


def _measure(value: Any) -> tuple[int, int]:
    """Give how deep containers are nested, and how many keys there are in all."""
    depth = keys = 0
    level = [value] if isinstance(value, (dict, list)) else []
    while level:
        depth += 1
        below: list[Any] = []
        for container in level:
            if isinstance(container, dict):
                keys += len(container)
                members: Any = container.values()
            else:
                members = container
            below += [each for each in members if isinstance(each, (dict, list))]
        level = below
    return depth, keys


def _check_marks(line: bytes) -> None:
    if _marks(line) <= MAX_MARKS:
        return
    # Each string belongs to a value or a key, so that there cannot be many more of them.
    if _without_escapes(line).count(b'"') > 4 * MAX_MARKS or (
        _marks(_outside_strings(line)) > MAX_MARKS
    ):
        raise ParseError(
            f"more than {MAX_MARKS} values in one line, or nested deeper than {MAX_NESTING}: "
            "split the request"
        )


def _marks(text: bytes) -> int:
    return text.count(b",") + text.count(b":") + text.count(b"[") + text.count(b"{")


def _without_escapes(text: bytes) -> bytes:
    """Take out escaped backslashes, then escaped quotes: each quote left begins or ends."""
    if b"\\" not in text:
        return text
    return text.replace(b"\\\\", b"").replace(b'\\"', b"")


def _outside_strings(text: bytes) -> bytes:
    """Give what stands outside of strings. Of text that is no JSON, anything may be left."""
    return b'""'.join(_without_escapes(text).split(b'"')[::2])


def _describe(line: bytes, error: orjson.JSONDecodeError) -> str:
    said = str(error)
    if _TOO_DEEP.search(said):
        return f"nested deeper than {MAX_NESTING}"
    if line.startswith(b"\xef\xbb\xbf"):
        return "not JSON: the line starts with a byte order mark; send plain UTF-8"
    constant = _CONSTANT.search(_outside_strings(line[:_NAMED_BYTES]))
    if constant:
        return f"not JSON: {constant.group().decode()} is no JSON number"
    return f"not JSON: {said}"


def _shown(line: bytes) -> str:
    """Give the line's start for the log, escaped and cut."""
    return repr(line[:_SHOWN_BYTES])[2:-1]


def _first_duplicate(line: bytes) -> str:
    if len(line) > _NAMED_BYTES:
        return "in a long line"

    def seen_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        members: dict[str, Any] = {}
        for key, value in pairs:
            if key in members:
                found.append(key)
            members[key] = value
        return members

    found: list[str] = []
    # Numbers as they stand: Python would read very long ones slowly, or not at all.
    json.loads(line, object_pairs_hook=seen_once, parse_int=str, parse_float=str)
    return json.dumps(found[0][:_SHOWN_BYTES]) if found else "found"
