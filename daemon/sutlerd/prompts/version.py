"""Versions of templates, and the names under which people ask for them. Pure.

"1.10" is after "1.9", "1.0" is "1", and "1.2-dev" comes before "1.2".
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final, Self

from sutlerd.domain.record import record

_NUMBER: Final = r"(?:0|[1-9][0-9]{0,8})"
_VERSION: Final = re.compile(rf"(?P<numbers>{_NUMBER}(?:\.{_NUMBER}){{0,3}})(?P<dev>-dev)?")
NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
MAX_REFERENCE_CHARS: Final = 128


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Version:
    """``numbers`` has no zeros at its end, so that "1.0" and "1" are one version.

    A version under development (``-dev``) may change; a released one never does.
    """

    numbers: tuple[int, ...]
    is_release: bool
    text: str = field(compare=False)

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Read one to four numbers and perhaps ``-dev``; ``None`` for anything else."""
        found = _VERSION.fullmatch(text)
        if found is None:
            return None
        numbers = [int(part) for part in found["numbers"].split(".")]
        while len(numbers) > 1 and numbers[-1] == 0:
            numbers.pop()
        return cls(numbers=tuple(numbers), is_release=found["dev"] is None, text=text)

    @property
    def canonical(self) -> str:
        """The one spelling of all that are equal."""
        return ".".join(map(str, self.numbers)) + ("" if self.is_release else "-dev")


@record
class Reference:
    """``name``, ``name@1`` (the newest 1.x), ``name@1.2`` (the newest 1.2.x), ``name@2-dev``.

    ``numbers`` are as written, empty for the newest of all.
    """

    name: str
    numbers: tuple[int, ...] = ()
    is_dev: bool = False

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Read a reference; ``None`` for what can be no template's name."""
        name, at, version = text[: MAX_REFERENCE_CHARS + 1].partition("@")
        if len(text) > MAX_REFERENCE_CHARS or NAME.fullmatch(name) is None:
            return None
        if not at:
            return cls(name=name)
        found = _VERSION.fullmatch(version)
        if found is None:
            return None
        numbers = tuple(int(part) for part in found["numbers"].split("."))
        return cls(name=name, numbers=numbers, is_dev=found["dev"] is not None)

    def matches(self, version: Version) -> bool:
        """Whether a version is one of those that are meant."""
        padding = (0,) * max(0, len(self.numbers) - len(version.numbers))
        if self.is_dev:
            wanted = self.numbers + (0,) * max(0, len(version.numbers) - len(self.numbers))
            return not version.is_release and version.numbers + padding == wanted
        return (version.numbers + padding)[: len(self.numbers)] == self.numbers
