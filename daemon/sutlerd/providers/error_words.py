"""What an error body says, in any provider's spelling. Pure; nothing is judged here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sutlerd.domain.record import record
from sutlerd.providers.bounded_json import read_json

#: Of a provider's words in a message.
MAX_WORDS = 500
#: Bodies beyond this are not looked into, only their first words are taken.
MAX_JUDGED_BYTES = 256 * 1024


@record
class ErrorWords:
    """What an error body says, in any spelling; empty where it says nothing.

    ``words`` are its type, code and like in lower case; ``status`` a number that its
    ``code`` or ``status`` field gives; ``details`` the object they stand in.
    """

    message: str = ""
    words: frozenset[str] = frozenset()
    status: int | None = None
    details: Mapping[str, Any] | None = None


def read_words(body: bytes) -> ErrorWords:
    """Find the error in a body: OpenAI's and Anthropic's object, an array of such (Gemini),
    ``detail`` (FastAPI), a bare string (Ollama), or text that is not JSON."""
    if len(body) > MAX_JUDGED_BYTES:
        return ErrorWords(message=_text(body))
    try:
        value = read_json(body)
    except ValueError:
        return ErrorWords(message=_text(body))
    return words_of(value)


def words_of(value: Any) -> ErrorWords:
    """The same for a body that is parsed already."""
    while isinstance(value, list) and value:
        value = value[0]
    if isinstance(value, dict) and value.get("error"):
        value = value["error"]
    if isinstance(value, str):
        return ErrorWords(message=value)
    if not isinstance(value, dict):
        return ErrorWords()
    message = value.get("message") or value.get("detail") or value.get("error_description") or ""
    if isinstance(message, list):
        message = "; ".join(_validation_problem(item) for item in message[:8])
    inner = value.get("details")
    fields = [value.get(name) for name in ("type", "code", "status")]
    if isinstance(inner, dict):
        fields.append(inner.get("error_code"))
    numbers = [_status_number(field) for field in fields]
    return ErrorWords(
        message=message if isinstance(message, str) else str(message),
        words=frozenset(field.lower() for field in fields if isinstance(field, str)),
        status=next((number for number in numbers if number is not None), None),
        details=value,
    )


def clean(text: str) -> str:
    """Cut to ``MAX_WORDS`` characters of one printable line."""
    cut = text[: MAX_WORDS * 2]
    line = " ".join("".join(c if c.isprintable() else " " for c in cut).split())
    return line if len(line) <= MAX_WORDS else line[: MAX_WORDS - 1] + "…"


def _text(body: bytes) -> str:
    """Give the first words of a body that is not JSON: of HTML, the words between the tags."""
    text = body[:4096].decode("utf-8", "replace")
    if "<" not in text:
        return text
    words, inside = [], False
    for char in text:
        if char in "<>":
            inside = char == "<"
            words.append(" ")
        elif not inside:
            words.append(char)
    return "".join(words)


def _validation_problem(item: Any) -> str:
    """Spell one entry of FastAPI's list of problems."""
    if not isinstance(item, dict):
        return str(item)
    place = item.get("loc")
    where = ".".join(str(part) for part in place) if isinstance(place, list) else ""
    return f"{where}: {item.get('msg', '')}" if where else str(item.get("msg", item))


def _status_number(field: Any) -> int | None:
    """Read a status out of ``code: 429`` or ``code: "429"``."""
    if isinstance(field, bool) or not isinstance(field, int | str):
        return None
    if isinstance(field, str) and not (field.isascii() and field.isdigit() and len(field) == 3):
        return None
    return int(field) if 400 <= int(field) < 600 else None
