"""Secrets out of any text that leaves, by value and in the spellings they travel in.

Masked are whole secrets and parts of at least eight characters, plain, URL-coded,
JSON-escaped and base64-coded at any alignment; and what a provider stars out in the middle.
Pure. Text without a secret costs one look-up for every fifth character.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator
from typing import Final
from urllib.parse import quote, quote_plus

MASK: Final = "***"
#: A run of so many characters of a secret is a part of it; a shorter one may be chance.
PART_CHARS: Final = 8
#: Shorter secrets would mask half of every line; they are no secrets either.
MIN_SECRET_CHARS: Final = 4

#: Every run of PART_CHARS holds a whole piece that begins at a multiple of the stride.
_PIECE: Final = 4
_STRIDE: Final = PART_CHARS - _PIECE + 1

#: The pieces of a text at multiples of the stride, cut by the regular expressions' own loop.
_SAMPLES = re.compile(rf"(.{{{_PIECE}}}).{{,{_STRIDE - _PIECE}}}", re.DOTALL)
_STARRED = re.compile(r"([\w+/=-]*)(?:\*{3,}|\.{3,}|…+|•{3,})([\w+/=-]*)")
_TELLING_EDGE_CHARS: Final = 3


class Redactor:
    """Masks a fixed set of secrets."""

    def __init__(self, values: Iterable[str] = ()) -> None:
        lines = (line.strip() for value in values for line in value.splitlines())
        self._values = tuple(dict.fromkeys(v for v in lines if len(v) >= MIN_SECRET_CHARS))
        spelled = dict.fromkeys(form for value in self._values for form in spellings(value))
        self._short = tuple(form for form in spelled if len(form) < PART_CHARS)
        self._long = tuple(form for form in spelled if len(form) >= PART_CHARS)
        self._pieces: dict[str, list[tuple[str, int]]] = {}
        for form in self._long:
            for start in range(len(form) - _PIECE + 1):
                self._pieces.setdefault(form[start : start + _PIECE], []).append((form, start))

    def text(self, text: str) -> str:
        """Give ``text`` with every secret and every telling part of one masked."""
        if not self._values:
            return text
        if not self._pieces.keys().isdisjoint(_SAMPLES.findall(text)):
            text = self._without_parts(text)
        for form in self._short:
            if form in text:
                text = text.replace(form, MASK)
        if "***" in text or "..." in text or "…" in text or "•••" in text:
            text = _STARRED.sub(self._starred, text)
        return text

    def _without_parts(self, text: str) -> str:
        """Mask every run of the text that is a run of a secret."""
        kept: list[str] = []
        done = 0
        for at in range(0, len(text), _STRIDE):
            if at + _PIECE <= done:
                continue
            begin, end = self._run_around(text, at)
            if end - begin < PART_CHARS or end <= done:
                continue
            if begin >= done:
                kept += (text[done:begin], MASK)
            done = end
        kept.append(text[done:])
        return "".join(kept)

    def _run_around(self, text: str, at: int) -> tuple[int, int]:
        """Find the longest run of any secret that covers the piece at ``at``."""
        best = (at, at)
        for form, start in self._pieces.get(text[at : at + _PIECE], ()):
            begin, left = at, start
            while begin and left and text[begin - 1] == form[left - 1]:
                begin, left = begin - 1, left - 1
            end, right = at + _PIECE, start + _PIECE
            while end < len(text) and right < len(form) and text[end] == form[right]:
                end, right = end + 1, right + 1
            if end - begin > best[1] - best[0]:
                best = (begin, end)
        return best

    def _starred(self, found: re.Match[str]) -> str:
        """Mask a starred-out word that begins or ends as a secret does."""
        head, tail = found[1], found[2]
        for value in self._values:
            if len(head) >= _TELLING_EDGE_CHARS and value.startswith(head):
                return MASK
            if len(tail) >= _TELLING_EDGE_CHARS and value.endswith(tail):
                return MASK
        return found[0]


def spellings(value: str) -> Iterator[str]:
    """Yield a secret as it may stand in a text: plain, URL-coded, JSON-escaped, base64."""
    yield value
    for coded in (quote(value, safe=""), quote(value), quote_plus(value)):
        yield coded
        yield re.sub(r"%[0-9A-F]{2}", lambda found: found[0].lower(), coded)
    yield json.dumps(value)[1:-1]
    yield json.dumps(value, ensure_ascii=False)[1:-1]
    raw = value.encode("utf-8", "surrogatepass")
    for offset in range(3):
        # The first and the last characters also depend on what stands beside the secret.
        coded = base64.b64encode(b"\0" * offset + raw).decode("ascii")
        first = (offset * 8 + 5) // 6
        last = (offset + len(raw)) * 8 // 6
        inner = coded[first:last]
        if len(inner) >= PART_CHARS:
            yield inner
            yield inner.replace("+", "-").replace("/", "_")
