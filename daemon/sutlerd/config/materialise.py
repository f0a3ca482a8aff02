"""From the tree of a file to plain values: typed, substituted, each with its line.

The shape of the configuration decides how a scalar is read. Written without quotes and
where text does not belong, it may be a number or a truth; money and shares keep the very
characters that were written. What comes from a variable is text wherever text belongs.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

from sutlerd.config.problems import Path
from sutlerd.config.secret import Secret
from sutlerd.config.shape import Holds, Shape
from sutlerd.config.substitute import Sources, Substituted, SubstitutionFault
from sutlerd.config.yaml_tree import Mapping, Node, Scalar, Sequence
from sutlerd.domain.record import record

MAX_VALUES: Final = 20_000

_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9]*(?:_[0-9]+)*)")
_NUMBER = re.compile(r"[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]{1,3})?")
_TRUTHS: Final = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
_NOTHINGS: Final = frozenset({"", "~", "null"})
_MAX_DIGITS: Final = 18


@record
class Unset:
    """A setting left out because ``origin``, a variable or a credential, holds nothing."""

    path: Path
    line: int
    origin: str


@dataclass(slots=True, kw_only=True)
class Values:
    """What a file says. ``lines`` has the line of every path in it; ``origins`` tells of
    those that came from elsewhere; ``literal_secrets`` stand in the file themselves."""

    data: Any = None
    lines: dict[Path, int] = field(default_factory=dict)
    origins: dict[Path, str] = field(default_factory=dict)
    unset: list[Unset] = field(default_factory=list)
    literal_secrets: list[Path] = field(default_factory=list)


#: Called with path, line and message.
Complain = Callable[[Path, int, str], None]

_ABSENT: Final = object()


class TooMany(Exception):
    """The file unfolds to more values than any configuration needs."""


def materialise(root: Node, shape: Shape, sources: Sources, complain: Complain) -> Values:
    """Read the whole tree. Faults go to ``complain``; a faulty value is left out."""
    reading = _Reading(sources, complain)
    try:
        reading.values.data = reading.value(root, shape, ())
    except TooMany:
        complain((), root.line, f"unfolds to more than {MAX_VALUES} values")
    return reading.values


def resolve(text: str) -> Any:
    """Read an unquoted scalar as YAML does: nothing, a truth, a number, else text.

    A whole number with a leading zero, a date and a time are text: nobody guesses.
    """
    lowered = text.lower()
    if lowered in _NOTHINGS:
        return None
    if lowered in _TRUTHS and text in (lowered, lowered.title(), text.upper()):
        return _TRUTHS[lowered]
    if len(text) > 2 * _MAX_DIGITS:
        return text
    if _INTEGER.fullmatch(text) and sum(map(str.isdigit, text)) <= _MAX_DIGITS:
        return int(text)
    if _NUMBER.fullmatch(text) and not _has_leading_zero(text):
        return float(text)
    return text


def _has_leading_zero(text: str) -> bool:
    digits = text.lstrip("+-")
    return len(digits) > 1 and digits[0] == "0" and digits[1].isdigit()


class _Reading:
    def __init__(self, sources: Sources, complain: Complain) -> None:
        self.values = Values()
        self._sources = sources
        self._complain = complain
        self._count = 0

    def value(self, node: Node, shape: Shape | None, path: Path) -> Any:
        self._count += 1
        if self._count > MAX_VALUES:
            raise TooMany
        self.values.lines.setdefault(path, node.line)
        if isinstance(node, Mapping):
            return self._mapping(node, shape, path)
        if isinstance(node, Sequence):
            return self._sequence(node, shape, path)
        return self._scalar(node, shape, path)

    def _mapping(self, node: Mapping, shape: Shape | None, path: Path) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key, (line, inner) in node.entries.items():
            place = (*path, key)
            self.values.lines[place] = line
            child = shape.child(key) if shape is not None else None
            value = self.value(inner, child, place)
            # A group whose lines are all commented out is as good as not written.
            if value is _ABSENT or (value is None and child is not None and child.inner):
                continue
            result[key] = value
        return result

    def _sequence(self, node: Sequence, shape: Shape | None, path: Path) -> list[Any]:
        result: list[Any] = []
        child = shape.child(0) if shape is not None else None
        for inner in node.items:
            place = (*path, len(result))
            value = self.value(inner, child, place)
            if value is _ABSENT:
                self.values.lines.pop(place, None)
            else:
                result.append(value)
        return result

    def _scalar(self, node: Scalar, shape: Shape | None, path: Path) -> Any:
        holds = shape.holds if shape is not None else Holds.OTHER
        try:
            found = self._sources.substitute(node.text)
            if holds is Holds.SECRET and found.text is not None and not found.origin:
                found = self._sources.secret(found.text)
        except SubstitutionFault as fault:
            self._complain(path, node.line, str(fault))
            return _ABSENT
        if found.origin:
            self.values.origins[path] = found.origin
        if found.text is None:
            self.values.unset.append(Unset(path=path, line=node.line, origin=found.origin))
            return Secret.missing(found.origin) if path[-1:] == ("api_key",) else _ABSENT
        return self._typed(node, found, found.text, holds, path)

    def _typed(self, node: Scalar, found: Substituted, text: str, holds: Holds, path: Path) -> Any:
        replaced = bool(found.origin)
        if replaced and not text:
            return _ABSENT
        if holds is Holds.SECRET:
            value = resolve(text) if node.plain and not replaced else text
            return self._secret(value, found, path) if isinstance(value, str) else value
        # A variable's text has no quotes of its own: where no text belongs it is read as plain.
        if not (node.plain or replaced) or (replaced and holds is Holds.TEXT):
            return text
        value = resolve(text)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            if holds is Holds.MONEY:
                return Decimal(text.replace("_", ""))
            if holds is Holds.PART:
                return text
        return value

    def _secret(self, text: str, found: Substituted, path: Path) -> Any:
        if not text or not text.isprintable():
            return text
        secret = Secret(text, origin=found.origin)
        if not found.origin and secret.sensitive_parts():
            self.values.literal_secrets.append(path)
        return secret
