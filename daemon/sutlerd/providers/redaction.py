"""Secrets out of a provider's own words. Pure.

Providers repeat a refused key: whole, cut, or starred out in the middle
(``sk-proj-abc***wxyz``). None of it may reach a caller, a log or a trace.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import partial

_MASK = "***"
#: A run of this many characters of a secret is a part of it; a shorter one may be chance.
_TELLING_CHARS = 6
#: At the edges of a word that is starred out, fewer tell already.
_TELLING_EDGE_CHARS = 2
_STARRED = re.compile(r"[^\s\"'<>(),;]*(?:\*{2,}|\.{3,}|…|•{2,}|x{4,})[^\s\"'<>(),;]*")


def redact(text: str, secrets: Iterable[str]) -> str:
    """Give ``text`` with each secret and every telling part of one masked."""
    for secret in secrets:
        if not secret:
            continue
        text = text.replace(secret, _MASK)
        text = _STARRED.sub(partial(_starred, secret=secret), text)
        if len(secret) > _TELLING_CHARS:
            text = _parts(text, secret)
    return text


def _starred(found: re.Match[str], *, secret: str) -> str:
    """Mask a starred-out word that begins or ends as the secret does."""
    edges = [part for part in re.split(r"[*.…•]+|x{4,}", found[0]) if part]
    for edge in edges:
        telling = min(_TELLING_EDGE_CHARS, len(edge))
        if edge[:telling] == secret[:telling] or edge[-telling:] == secret[-telling:]:
            return _MASK
    return found[0]


def _parts(text: str, secret: str) -> str:
    """Mask all runs of the text that are runs of the secret, too."""
    size = _TELLING_CHARS
    runs = {secret[start : start + size] for start in range(len(secret) - size + 1)}
    kept: list[str] = []
    position = masked_to = 0
    while position < len(text):
        if text[position : position + size] in runs:
            if position >= masked_to:
                kept.append(_MASK)
            masked_to = position + size
        if position >= masked_to:
            kept.append(text[position])
        position += 1
    return "".join(kept)
