"""A value that must never be seen. Only ``reveal`` gives it away.

Whatever prints, formats or serialises a ``Secret`` gets three asterisks. Only what holds
keys belongs here; where secrets come from is the loader's matter.
"""

from __future__ import annotations

from typing import Any, Final, NoReturn
from urllib.parse import unquote, urlsplit

MASK: Final = "***"


class Secret:
    """A secret text and where it came from.

    A *missing* secret is one that the configuration wants but whose source is empty: it is
    not ``is_set``, has no value, and ``origin`` names the source.
    """

    __slots__ = ("_value", "origin")

    def __init__(self, value: str, *, origin: str = "") -> None:
        self._value: str | None = value
        self.origin = origin

    @classmethod
    def missing(cls, origin: str) -> Secret:
        secret = cls("", origin=origin)
        secret._value = None
        return secret

    @property
    def is_set(self) -> bool:
        return self._value is not None

    def reveal(self) -> str:
        """Give the value. Raises ``ValueError`` for a missing secret."""
        if self._value is None:
            raise ValueError(f"no secret: {self.origin} is not set")
        return self._value

    def sensitive_parts(self) -> tuple[str, ...]:
        """List what has to be masked wherever text leaves.

        Of a URL that is its password, and its path and query where they are long enough to
        be a token: scheme and host are in too many innocent lines to be masked.
        """
        if not self._value:
            return ()
        if "://" not in self._value:
            return (self._value,)
        return _parts_of_url(self._value)

    def __repr__(self) -> str:
        return f"Secret({MASK})"

    def __str__(self) -> str:
        return MASK

    def __format__(self, spec: str) -> str:
        return format(MASK, spec)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._value == other._value

    def __hash__(self) -> int:
        return hash((Secret, self._value))

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, _memo: object) -> Secret:
        return self

    def __reduce_ex__(self, _protocol: object) -> NoReturn:
        raise TypeError("a secret cannot be pickled")

    @classmethod
    def read(cls, value: Any) -> Secret:
        """Take what a file says. Raises ``ValueError`` with what is wrong."""
        if isinstance(value, Secret):
            return value
        if not isinstance(value, str):
            raise ValueError("must be text in quotes")
        if not value or not value.isprintable():
            raise ValueError("is empty or holds a control character")
        return cls(value)


def _parts_of_url(url: str) -> tuple[str, ...]:
    try:
        split = urlsplit(url)
    except ValueError:
        return (url,)
    parts = [split.password, unquote(split.password)] if split.password else []
    tail = url.partition("://")[2].partition("/")[2]
    if len(tail) >= 8:
        parts.append(tail)
        # The last piece alone is a webhook's token: told without the rest, it still is one.
        parts.append(tail.rpartition("/")[2])
    return tuple(dict.fromkeys(part for part in parts if len(part) >= 4))
