"""The tree of settings as types: what may stand at a path, and what may not.

Read off the models once they exist, so that it cannot drift from them. Used to type the
values of a file, to suggest the right key for a wrong one, and to find secrets by place.
"""

from __future__ import annotations

import types
from collections.abc import Iterable, Iterator
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from pathlib import Path as FilePath
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from sutlerd.config.group import Group, settings_of
from sutlerd.config.problems import Path
from sutlerd.config.secret import Secret
from sutlerd.domain.record import record


class Holds(Enum):
    """What stands at a place: other settings, or a value of one of these sorts."""

    GROUP = "group"
    MAP = "map"
    LIST = "list"
    TEXT = "text"
    SECRET = "secret"
    MONEY = "money"
    PART = "part"
    OTHER = "other"


@record
class Shape:
    """``model`` is set for groups, ``item`` (an annotation) for maps and lists, ``words``
    for a text that is one of a few."""

    holds: Holds
    model: type[Group] | None = None
    item: Any = None
    words: tuple[str, ...] = ()

    @property
    def inner(self) -> bool:
        return self.holds in (Holds.GROUP, Holds.MAP, Holds.LIST)

    def keys(self) -> tuple[str, ...]:
        """List a group's settings by the names that files use."""
        return tuple(_fields(self.model)) if self.model is not None else ()

    def child(self, key: str | int) -> Shape | None:
        """Give what stands one step further; ``None`` if nothing may."""
        if self.model is not None:
            annotation = _fields(self.model).get(str(key))
            return None if annotation is None else shape_of(annotation)
        if self.inner and isinstance(key, int) == (self.holds is Holds.LIST):
            return shape_of(self.item)
        return None


_SORTS: tuple[tuple[type, Holds], ...] = (
    (Secret, Holds.SECRET),
    (Decimal, Holds.MONEY),
    (Fraction, Holds.PART),
    (str, Holds.TEXT),
    (FilePath, Holds.TEXT),
)


def at(root: type[Group], path: Iterable[str | int]) -> Shape | None:
    """Walk from the root model to ``path``; ``None`` if that leaves the known settings."""
    shape: Shape | None = Shape(holds=Holds.GROUP, model=root)
    for part in path:
        if shape is None:
            return None
        shape = shape.child(part)
    return shape


def shape_of(annotation: Any) -> Shape:
    """Tell what an annotation lets in, optional or not."""
    plain = _bare(annotation)
    origin = get_origin(plain)
    if origin in (dict, tuple):
        holds = Holds.MAP if origin is dict else Holds.LIST
        return Shape(holds=holds, item=get_args(plain)[1 if origin is dict else 0])
    if origin is Literal:
        return Shape(holds=Holds.TEXT, words=get_args(plain))
    if isinstance(plain, type):
        if issubclass(plain, Group):
            return Shape(holds=Holds.GROUP, model=plain)
        for kind, holds in _SORTS:
            if issubclass(plain, kind):
                return Shape(holds=holds)
    return Shape(holds=Holds.OTHER)


def places_of(root: type[Group], key: str) -> Iterator[str]:
    """Yield the dotted places where a setting of this name is at home, shallow ones first."""
    waiting: list[tuple[Path, Shape]] = [((), Shape(holds=Holds.GROUP, model=root))]
    seen: set[type[Group]] = set()
    while waiting:
        path, shape = waiting.pop(0)
        if shape.model is not None:
            if shape.model in seen:
                continue
            seen.add(shape.model)
            steps = shape.keys()
            if path and key in steps:
                yield ".".join(map(str, (*path, key)))
        else:
            steps = ("NAME",) if shape.holds is Holds.MAP else ()
        for step in steps:
            child = shape.child(step)
            if child is not None and child.inner:
                waiting.append(((*path, step), child))


def _bare(annotation: Any) -> Any:
    """Take off what only narrows: ``Annotated`` and ``| None``."""
    while True:
        if get_origin(annotation) is Annotated:
            annotation = get_args(annotation)[0]
            continue
        if get_origin(annotation) in (Union, types.UnionType):
            members = [part for part in get_args(annotation) if part is not type(None)]
            if len(members) == 1:
                annotation = members[0]
                continue
        return annotation


def _fields(model: type[Group]) -> dict[str, Any]:
    return {each.alias: each.annotation for each in settings_of(model).values()}
