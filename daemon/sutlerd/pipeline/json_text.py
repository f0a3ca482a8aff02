"""Find the JSON that a model was asked for in the text that it gave. Pure.

Models wrap good JSON into fences and prose; that is no error. Every value is read by the strict
reader of the wire's own kind: no NaN, no lone surrogates.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import orjson

#: Longer texts are no answers in JSON that anybody waits for.
MAX_TEXT_CHARS = 2 * 1024 * 1024
#: The wire nests to 64, and a value in a reply stands two levels down.
MAX_DEPTH = 60
MAX_VALUES = 8
_MAX_STARTS = 64

_FENCE = re.compile(r"```[ \t]*[A-Za-z0-9_-]{0,16}[ \t]*\r?\n(.*?)\r?\n?[ \t]*```", re.DOTALL)
_START = re.compile(r"[{\[]")
_BLANK = "\ufeff \t\r\n"


def json_values(text: str) -> list[Any]:
    """Give what the text may mean, the likeliest first; empty if there is no JSON in it.

    The whole text, else what stands in fences, else objects and lists within prose, the
    longest first. Of more than ``MAX_VALUES`` the rest is left out.
    """
    if len(text) > MAX_TEXT_CHARS:
        return []
    whole = list(_read(text.strip(_BLANK)))
    if whole:
        return whole
    values: list[Any] = []
    for fenced in _FENCE.finditer(text):
        values += _read(fenced[1].strip(_BLANK))
        if len(values) == MAX_VALUES:
            return values
    spans = sorted(_spans(text), key=lambda span: span[0] - span[1])
    for start, end in spans:
        values += [value for value in _read(text[start:end]) if value not in values]
        if len(values) >= MAX_VALUES:
            break
    return values[:MAX_VALUES]


def is_too_deep(value: Any) -> bool:
    """Say whether a value is nested deeper than a reply may carry."""
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [inner for outer in level for inner in _members(outer)]
        if not level:
            return False
    return True


def _members(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from value.values()
    elif isinstance(value, list):
        yield from value


def _read(text: str) -> Iterator[Any]:
    try:
        yield orjson.loads(text)
    except orjson.JSONDecodeError:
        return


def _spans(text: str) -> Iterator[tuple[int, int]]:
    """Give where objects and lists stand, outermost ones only.

    A bracket that begins nothing is passed over; of those only so many, since each may have
    to be read to the end of the text.
    """
    decoder = json.JSONDecoder()
    place = 0
    for _ in range(_MAX_STARTS):
        found = _START.search(text, place)
        if found is None:
            return
        try:
            _, place = decoder.raw_decode(text, found.start())
        except (ValueError, RecursionError):
            place = found.end()
        else:
            yield found.start(), place
