"""What a recording says of a request: its canonical form, and the lines of the file. Pure.

The canonical form is what the caller asked, however it was spelt: no uid, no addresses and
labels, nothing of the configuration. One and the same request may have several replies; they
are numbered in the order in which they were given.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any, Final

import orjson

FORMAT: Final = 1
#: What addresses, labels or schedules a request, and how its answer is kept: not what it asks.
_LEFT_OUT: Final = frozenset(
    {
        *("request_id", "labels", "lane", "timeout_s", "metadata", "fallback", "stream"),
        *("cache", "cache_ttl_s"),
        # Told in another way: the messages of all methods are alike.
        *("messages", "prompt", "system", "name", "variables"),
    }
)
_SHOWN_TEXT_CHARS: Final = 60


def canonical(
    kind: str,
    given: Mapping[str, Any],
    *,
    messages: Iterable[Mapping[str, Any]] | None = None,
    prompt_hash: str | None = None,
) -> dict[str, Any]:
    """Put a request into its one form. ``given`` are the parameters that the caller set."""
    asked: dict[str, Any] = {"kind": kind}
    if messages is not None:
        asked["messages"] = list(messages)
    if prompt_hash is not None:
        asked["prompt_hash"] = prompt_hash
    for name in sorted(given):
        if name not in _LEFT_OUT and given[name] is not None:
            asked[name] = given[name]
    return asked


def key_of(asked: Mapping[str, Any]) -> str:
    """Name a canonical request; the order of keys does not matter, at any depth."""
    spelt = orjson.dumps(asked, option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(spelt).hexdigest()


def first_line(*, version: str, unix_s: float) -> bytes:
    head = {"sutler_recording": FORMAT, "version": version, "unix_s": unix_s}
    return orjson.dumps(head) + b"\n"


def is_first_line(line: bytes) -> bool:
    try:
        head = orjson.loads(line)
    except orjson.JSONDecodeError:
        return False
    return isinstance(head, dict) and head.get("sutler_recording") == FORMAT


def reply_line(asked: Mapping[str, Any], number: int, reply: bytes) -> bytes:
    """Write one reply, a JSON object, under its request and its number, counted from 0."""
    head = orjson.dumps({"key": key_of(asked), "n": number, "asked": asked})
    return b'%b,"reply":%b}\n' % (head[:-1], reply)


def difference(asked: Mapping[str, Any], recorded: Mapping[str, Any]) -> list[str]:
    """Name the members in which two canonical requests differ, messages one by one."""
    differing = [
        name
        for name in sorted({*asked, *recorded} - {"messages"})
        if asked.get(name) != recorded.get(name)
    ]
    ours, theirs = asked.get("messages") or [], recorded.get("messages") or []
    differing += [
        f"messages[{place}]"
        for place in range(max(len(ours), len(theirs)))
        if ours[place : place + 1] != theirs[place : place + 1]
    ]
    return differing


def nearest(asked: Mapping[str, Any], recorded: Iterable[Mapping[str, Any]]) -> str:
    """Say which recorded request is most like this one, and where it differs."""
    best: tuple[int, int] | None = None
    said = "the recording holds nothing of this kind"
    for other in recorded:
        if other.get("kind") != asked.get("kind"):
            continue
        differing = difference(asked, other)
        alike = _common(_text(asked), _text(other))
        if best is None or (len(differing), -alike) < best:
            best = (len(differing), -alike)
            shown = _text(other)[:_SHOWN_TEXT_CHARS]
            said = f"the nearest recorded one, {shown!r}, differs in {', '.join(differing)}"
    return said


def _text(asked: Mapping[str, Any]) -> str:
    """Give what is asked last, in words."""
    if asked.get("messages"):
        content = asked["messages"][-1].get("content")
        return content if isinstance(content, str) else str(content)
    texts = asked.get("texts")
    return str(texts[0]) if texts else str(asked.get("text") or "")


def _common(one: str, other: str) -> int:
    """Count the characters that two texts begin and end with in common."""
    length = min(len(one), len(other))
    start = next((n for n in range(length) if one[n] != other[n]), length)
    end = next((n for n in range(length) if one[-1 - n] != other[-1 - n]), length)
    return start + end
