"""One event as one line of text or JSON. Pure; never raises, whatever the fields are.

Control characters, line breaks of every kind and characters that turn the direction of
writing are escaped, so that a line cannot forge another one or drive a terminal.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping
from decimal import Decimal
from pathlib import PurePath
from typing import Any, Final

import orjson

MAX_VALUE_CHARS: Final = 8192
MAX_ITEMS: Final = 64
MAX_DEPTH: Final = 4

_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
_SHORT_ESCAPES: Final = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
#: What most values are: plain words, that may stand as they are.
_PLAIN_WORD = re.compile(r"[A-Za-z0-9_./:@+-]{1,200}")
#: What may stand in ``key=value`` without quotes.
_BARE = re.compile(r"[^\s\"'=\\]+")
#: What a failing ``__str__`` of somebody's exception may raise.
_STR_FAILURES: Final = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError)


def timestamp(unix_s: float) -> str:
    """RFC 3339 in UTC with milliseconds; a clock out of all range gives the epoch."""
    try:
        moment = datetime.datetime.fromtimestamp(unix_s, datetime.UTC)
    except (ValueError, OverflowError, OSError):
        moment = datetime.datetime.fromtimestamp(0, datetime.UTC)
    return moment.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def text_line(when: str, level: str, name: str, fields: Mapping[str, object]) -> str:
    """Write an event for people, without its line end."""
    return f"{when} {level:<7} {message_text(name, fields)}"


def message_text(name: str, fields: Mapping[str, object]) -> str:
    """Write what happened, without when and how bad it is."""
    parts = [_escaped(name)]
    parts += [f"{_escaped(key)}={_text_value(value)}" for key, value in fields.items()]
    return " ".join(parts)


def field_text(value: object) -> str:
    """Write one value alone: escaped, and without quotes."""
    if type(value) is str and _PLAIN_WORD.fullmatch(value):
        return value
    reduced = plain(value)
    return _escaped(reduced) if isinstance(reduced, str) else _unquoted(reduced)


def json_line(when: str, level: str, name: str, fields: Mapping[str, object]) -> str:
    """Write an event as a JSON object, without its line end."""
    record: dict[str, Any] = {"time": when, "level": level, "event": _valid(name)}
    for key, value in fields.items():
        record[_valid(key) if key not in record else f"{key}_"] = plain(value)
    return _json_escaped(orjson.dumps(record).decode())


def plain(value: object, depth: int = 0) -> Any:
    """Reduce anything to what JSON can hold: bounded, and without running foreign code."""
    if value is None or isinstance(value, (bool, float)):
        return value
    if isinstance(value, int):
        if value.bit_length() <= 63:
            return value
        return str(value) if value.bit_length() < 1024 else f"<int of {value.bit_length()} bits>"
    if isinstance(value, str):
        return _valid(_cut(value))
    if isinstance(value, (bytes, bytearray)):
        return _cut(bytes(value[: MAX_VALUE_CHARS + 1]).decode("utf-8", "backslashreplace"))
    if isinstance(value, (Decimal, PurePath)):
        return _valid(_cut(str(value)))
    if isinstance(value, BaseException):
        return _valid(_cut(_exception_text(value)))
    if isinstance(value, (Mapping, list, tuple, set, frozenset)) and depth < MAX_DEPTH:
        return _container(value, depth)
    return f"<{type(value).__name__}>"


def _container(value: Any, depth: int) -> Any:
    if isinstance(value, Mapping):
        pairs = list(value.items())[:MAX_ITEMS]
        return {str(plain(key, depth + 1)): plain(inner, depth + 1) for key, inner in pairs}
    return [plain(inner, depth + 1) for inner in list(value)[:MAX_ITEMS]]


def _exception_text(error: BaseException) -> str:
    name = type(error).__name__
    try:
        said = str(error)
    except _STR_FAILURES:
        said = ""
    return f"{name}: {said}" if said else name


def _text_value(value: object) -> str:
    if type(value) is str and _PLAIN_WORD.fullmatch(value):
        return value
    reduced = plain(value)
    if isinstance(reduced, (bool, int, float)) or reduced is None:
        return _unquoted(reduced)
    if not isinstance(reduced, str):
        reduced = orjson.dumps(reduced).decode()
    if _BARE.fullmatch(reduced):
        return _escaped(reduced)
    quoted = reduced.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{_escaped(quoted)}"'


def _unquoted(reduced: Any) -> str:
    """Write what is no text."""
    if isinstance(reduced, bool) or reduced is None:
        return {True: "true", False: "false", None: "-"}[reduced]
    if isinstance(reduced, (int, float)):
        return repr(reduced)
    return _json_escaped(orjson.dumps(reduced).decode())


def _cut(text: str) -> str:
    if len(text) <= MAX_VALUE_CHARS:
        return text
    return f"{text[:MAX_VALUE_CHARS]}…(+{len(text) - MAX_VALUE_CHARS})"


def _valid(text: str) -> str:
    """Replace what UTF-8 cannot hold: halves of surrogate pairs."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "backslashreplace").decode()
    return text


def _escaped(text: str) -> str:
    return text if text.isprintable() else _UNSAFE.sub(_escape, text)


def _escape(found: re.Match[str]) -> str:
    character = found[0]
    code = ord(character)
    return _SHORT_ESCAPES.get(character) or (f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}")


def _json_escaped(text: str) -> str:
    """Escape what JSON lets through as it is, and a terminal or a log reader does not."""
    if text.isprintable():
        return text
    return _UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
