"""From an annotation to what checks a value: types are checked, never guessed.

A number is no text, a truth is no number. What an annotation cannot say by itself is said by
marks in ``Annotated``, which apply in their order.
"""

from __future__ import annotations

import math
import re
import types
from collections.abc import Callable
from pathlib import Path as FilePath
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

from sutlerd.config.faults import WRONG, Fault, Reader
from sutlerd.config.problems import Path
from sutlerd.config.secret import Secret
from sutlerd.domain.record import record


@record
class Within:
    """Bounds of a number, each of them allowed but ``above``."""

    above: float | None = None
    least: float | None = None
    most: float | None = None

    def around(self, inner: Reader) -> Reader:
        def read(value: Any, path: Path, faults: list[Fault]) -> Any:
            number = inner(value, path, faults)
            if number is WRONG:
                return WRONG
            if self.most is not None and number > self.most:
                return _wrong(path, faults, f"must be at most {self.most:g}")
            if self.least is not None and number < self.least:
                return _wrong(path, faults, f"must be at least {self.least:g}")
            if self.above is not None and number <= self.above:
                return _wrong(path, faults, f"must be above {self.above:g}")
            return number

        return read


@record
class Spelt:
    """The whole text is like this pattern."""

    pattern: str

    def around(self, inner: Reader) -> Reader:
        pattern = re.compile(self.pattern)

        def read(value: Any, path: Path, faults: list[Fault]) -> Any:
            text = inner(value, path, faults)
            if text is WRONG or pattern.fullmatch(text):
                return text
            return _wrong(path, faults, "holds characters that are not allowed in such a name")

        return read


class Then:
    """A function that checks or changes what was read. Raises ``ValueError`` with the fault."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self._function = function

    def around(self, inner: Reader) -> Reader:
        made = made_by(self._function)

        def read(value: Any, path: Path, faults: list[Fault]) -> Any:
            found = inner(value, path, faults)
            return found if found is WRONG else made(found, path, faults)

        return read


class By(Then):
    """A function that reads the value all by itself. Raises ``ValueError`` with the fault."""

    def around(self, inner: Reader) -> Reader:
        return made_by(self._function)


class FromList:
    """A tuple that files write as a list."""

    def around(self, inner: Reader) -> Reader:
        def read(value: Any, path: Path, faults: list[Fault]) -> Any:
            return inner(tuple(value) if isinstance(value, list) else value, path, faults)

        return read


def reader_of(annotation: Any) -> Reader:
    """Give what checks values of this annotation. Raises ``TypeError`` for one not known here."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        marked, *marks = inner
        reader = _unread if isinstance(marks[0], By) else reader_of(marked)
        for mark in marks:
            reader = mark.around(reader)
        return reader
    if origin in (Union, types.UnionType):
        return _one_of(inner)
    if origin is Literal:
        return _word(inner)
    if origin is tuple:
        return _listed(reader_of(inner[0]))
    if origin is dict:
        return _mapped(reader_of(inner[0]), reader_of(inner[1]))
    if annotation in _PLAIN:
        return _PLAIN[annotation]
    if isinstance(annotation, type) and hasattr(annotation, "read"):
        own: Reader = annotation.read  # a group
        return own
    raise TypeError(f"no setting can be of {annotation!r}")


def made_by(function: Callable[[Any], Any]) -> Reader:
    def read(value: Any, path: Path, faults: list[Fault]) -> Any:
        try:
            return function(value)
        except ValueError as error:
            return _wrong(path, faults, str(error))

    return read


def _wrong(path: Path, faults: list[Fault], said: str) -> Any:
    faults.append(Fault(path=path, kind="wrong", said=said))
    return WRONG


def _unread(value: Any, path: Path, faults: list[Fault]) -> Any:
    return value


def _one_of(annotations: tuple[Any, ...]) -> Reader:
    readers = [reader_of(each) for each in annotations if each is not type(None)]
    optional = len(readers) < len(annotations)
    only = readers[0] if len(readers) == 1 else None

    def read(value: Any, path: Path, faults: list[Fault]) -> Any:
        if optional and value is None:
            return None
        if only is not None:
            return only(value, path, faults)
        for reader in readers:
            not_this: list[Fault] = []
            found = reader(value, path, not_this)
            if not not_this:
                return found
        return _wrong(path, faults, "must be a name or a number")

    return read


def _word(words: tuple[str, ...]) -> Reader:
    *others, last = map(repr, words)
    said = f"must be {', '.join(others)} or {last}"

    def read(value: Any, path: Path, faults: list[Fault]) -> Any:
        if isinstance(value, str) and value in words:
            return value
        faults.append(Fault(path=path, kind="word", said=said, value=value))
        return WRONG

    return read


def _listed(item: Reader) -> Reader:
    def read(value: Any, path: Path, faults: list[Fault]) -> Any:
        if not isinstance(value, tuple):
            return _wrong(path, faults, "must be a list")
        known = len(faults)
        found = tuple(item(each, (*path, place), faults) for place, each in enumerate(value))
        return found if len(faults) == known else WRONG

    return read


def _mapped(name: Reader, item: Reader) -> Reader:
    def read(value: Any, path: Path, faults: list[Fault]) -> Any:
        if not isinstance(value, dict):
            return _wrong(path, faults, "must be a group of settings")
        known, found = len(faults), {}
        for key, inner in value.items():
            place = (*path, key)
            if name(key, place, []) is WRONG:
                _wrong(place, faults, "the name holds characters that are not allowed")
            found[key] = item(inner, place, faults)
        return found if len(faults) == known else WRONG

    return read


def _text(value: Any, path: Path, faults: list[Fault]) -> Any:
    if isinstance(value, str):
        return value
    return _wrong(path, faults, "must be text; put it in quotes")


def _truth(value: Any, path: Path, faults: list[Fault]) -> Any:
    return value if isinstance(value, bool) else _wrong(path, faults, "must be true or false")


def _whole(value: Any, path: Path, faults: list[Fault]) -> Any:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    return _wrong(path, faults, "must be a whole number")


def _number(value: Any, path: Path, faults: list[Fault]) -> Any:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return _wrong(path, faults, "must be a number")
    if not math.isfinite(value):
        return _wrong(path, faults, "must be a finite number")
    return float(value)


def _file_path(value: Any, path: Path, faults: list[Fault]) -> Any:
    if isinstance(value, (str, FilePath)):
        return FilePath(value)
    return _wrong(path, faults, "must be a path in quotes")


_PLAIN: Final[dict[Any, Reader]] = {
    str: _text,
    bool: _truth,
    int: _whole,
    float: _number,
    FilePath: _file_path,
    Secret: made_by(Secret.read),
}
