"""The lines of a recording, and which of its questions is nearest to another. Pure.

The first line says what the file is. Each other one is a reply: ``{"key", "n", "by"?, "asked",
"reply"}``, where ``n`` counts the askings of one and the same question from 0, in the order in
which they came, and ``by`` is the component and the rank that asked, where they were said. A
number is missing where an asking was answered by an error, or nobody waited for its reply.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import orjson

from sutlerd.domain.record import record
from sutlerd.pipeline.question import Question, Voice, key_of
from sutlerd.pipeline.result import served_from

FORMAT: Final = 1
_SHOWN_TEXT_CHARS: Final = 60
#: As much of a text's beginning and end as tells which other one is most like it.
_COMPARED_CHARS: Final = 240
_HAS: Final = {
    "chat": frozenset({"content", "finish_reason", "tool_calls", "reasoning", "usage"}),
    "embed": frozenset({"embeddings", "model", "provider", "dimension", "usage"}),
    "count_tokens": frozenset({"tokens", "exact", "method"}),
}


@record
class Kept:
    """One line of a recording, read."""

    asked: dict[str, Any]
    key: bytes
    number: int
    voice: Voice
    reply: bytes


def first_line(*, version: str, unix_s: float) -> bytes:
    head = {"sutler_recording": FORMAT, "version": version, "unix_s": unix_s}
    return orjson.dumps(head) + b"\n"


def is_first_line(line: bytes) -> bool:
    try:
        head = orjson.loads(line)
    except orjson.JSONDecodeError:
        return False
    return isinstance(head, dict) and head.get("sutler_recording") == FORMAT


def reply_line(question: Question, number: int, reply: bytes) -> bytes:
    """Write one reply, a JSON object, under its question and its number, counted from 0."""
    head: dict[str, Any] = {"key": question.key.hex(), "n": number}
    if question.voice != Voice():
        head["by"] = [question.voice.component, question.voice.rank]
    head["asked"] = question.asked
    return b'%b,"reply":%b}\n' % (orjson.dumps(head)[:-1], reply)


def read_line(line: bytes) -> Kept:
    """Read what ``reply_line`` wrote. Raises ``ValueError`` for anything else."""
    try:
        entry = orjson.loads(line)
        asked, number, reply = entry["asked"], entry["n"], entry["reply"]
        component, rank = entry.get("by") or (None, None)
        key = key_of(asked)
        good = (
            key.hex() == entry["key"]
            and type(number) is int
            and number >= 0
            and isinstance(component, str | None)
            and isinstance(rank, str | None)
            and _HAS[asked["kind"]] <= reply.keys()
        )
        payload = orjson.dumps(reply)
        if asked["kind"] == "chat":
            served_from(payload)
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"no line of a recording: {error!r}") from None
    if not good:
        raise ValueError("not as it was written")
    voice = Voice(component=component, rank=rank)
    return Kept(asked=asked, key=key, number=number, voice=voice, reply=payload)


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


def nearest_said(asked: Mapping[str, Any], recorded: Iterable[Mapping[str, Any]]) -> str:
    """Say which recorded request is most like this one, and where it differs."""
    best: tuple[int, int] | None = None
    said = "the recording holds nothing of this kind"
    text = _text(asked)
    for other in recorded:
        if other.get("kind") != asked.get("kind"):
            continue
        differing = difference(asked, other)
        if best is not None and len(differing) > best[0]:
            continue
        theirs = _text(other)
        likeness = (len(differing), -_common(text, theirs))
        if best is None or likeness < best:
            best = likeness
            shown = theirs[:_SHOWN_TEXT_CHARS]
            said = f"the nearest recorded one, {shown!r}, differs in {_listed(differing)}"
    return said


def _listed(names: list[str]) -> str:
    more = len(names) - 8
    return ", ".join(names[:8]) + (f" and {more} more" if more > 0 else "")


def _text(asked: Mapping[str, Any]) -> str:
    """Give what is asked last, in words."""
    if asked.get("messages"):
        content = asked["messages"][-1].get("content")
        return content if isinstance(content, str) else str(content)
    texts = asked.get("texts")
    return str(texts[0]) if texts else str(asked.get("text") or "")


def _common(one: str, other: str) -> int:
    """Count the characters that two texts begin and end with in common, up to a bound."""
    length = min(len(one), len(other), _COMPARED_CHARS)
    start = next((n for n in range(length) if one[n] != other[n]), length)
    end = next((n for n in range(length) if one[-1 - n] != other[-1 - n]), length)
    return start + end
