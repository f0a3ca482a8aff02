"""JSON as strictly as the wire wants it, at C speed.

orjson refuses bad UTF-8, NaN, infinities and lone surrogates by itself, but keeps the last
of duplicate keys in silence and follows nesting further than we allow. Both checks here
work on the text with its strings taken out, so that brackets and colons in strings do not
count; neither recurses nor walks the value in Python.
"""

from __future__ import annotations

import json
import re
from typing import Any

import orjson

from sutler.wire import MAX_NESTING
from sutlerd.domain.errors import ParseError

_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_ONE_KIND = bytes.maketrans(b"{}", b"[]")
_CONSTANT = re.compile(rb"-?\b(?:NaN|Infinity)\b")
_SHOWN_BYTES = 100
_NAMED_DUPLICATES_MAX_BYTES = 1024 * 1024


def loads(line: bytes) -> Any:
    """Parse one line; raise ``ParseError`` for all that is not strict JSON."""
    deep = line.count(b"[") + line.count(b"{") > MAX_NESTING
    if deep:
        _check_depth(line)
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise ParseError(_describe(line, error), line_start=_shown(line)) from None
    written = orjson.dumps(value)
    if written != line and _keys(written) != _keys(line):
        raise ParseError(f"duplicate key {_first_duplicate(line)}: every key may stand once")
    return value


def _keys(text: bytes) -> int:
    return _STRING.sub(b"", text).count(b":")


def _check_depth(line: bytes) -> None:
    # Which bracket closes which is orjson's business: for the depth they are all alike.
    brackets = _STRING.sub(b"", line).translate(_ONE_KIND, _NOT_BRACKETS)
    for _ in range(MAX_NESTING):
        shorter = brackets.replace(b"[]", b"")
        if len(shorter) == len(brackets):
            break
        brackets = shorter
    if brackets:
        raise ParseError(f"nested deeper than {MAX_NESTING}, or brackets that do not match")


def _describe(line: bytes, error: orjson.JSONDecodeError) -> str:
    constant = _CONSTANT.search(_STRING.sub(b'""', line))
    if constant:
        return f"not JSON: {constant.group().decode()} is no JSON number"
    if line.startswith(b"\xef\xbb\xbf"):
        return "not JSON: the line starts with a byte order mark; send plain UTF-8"
    return f"not JSON: {error}"


def _shown(line: bytes) -> str:
    """Give the line's start for the log, escaped and cut."""
    return repr(line[:_SHOWN_BYTES])[2:-1]


def _first_duplicate(line: bytes) -> str:
    if len(line) > _NAMED_DUPLICATES_MAX_BYTES:
        return "in a long line"

    def seen_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        members: dict[str, Any] = {}
        for key, value in pairs:
            if key in members:
                found.append(key)
            members[key] = value
        return members

    found: list[str] = []
    json.loads(line, object_pairs_hook=seen_once)
    return json.dumps(found[0][:_SHOWN_BYTES]) if found else "found"
