"""The base of every group of settings: frozen, strict, nothing unknown.

A group is a class whose annotations say what may stand in it, as with pydantic, which checks
what callers send and whose spelling is kept here. To import it and to have it compile these
groups took a third of the daemon's start, for a file that is read once.
"""

from __future__ import annotations

import typing
from collections.abc import Callable, Mapping
from typing import Any, Final, Self, dataclass_transform

from sutlerd.config.faults import WRONG, Fault, Faults, Reader
from sutlerd.config.problems import Path
from sutlerd.config.readers import reader_of
from sutlerd.domain.record import record

_NEEDED: Final = object()
_SETTINGS: Final[dict[type, Mapping[str, Setting]]] = {}


@record
class Setting:
    """One setting of a group. ``alias`` is its name in files where that is no name in Python."""

    annotation: Any = None
    default: Any = _NEEDED
    default_factory: Callable[[], Any] | None = None
    alias: str = ""
    reader: Reader | None = None

    @property
    def needed(self) -> bool:
        return self.default is _NEEDED and self.default_factory is None

    def without_a_value(self) -> Any:
        return self.default if self.default_factory is None else self.default_factory()


def setting(
    *, default: Any = _NEEDED, default_factory: Callable[[], Any] | None = None, alias: str = ""
) -> Any:
    """Say of a setting what its annotation does not."""
    return Setting(default=default, default_factory=default_factory, alias=alias)


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(setting,))
class Group:
    """One mapping of the configuration. Its mappings and lists are never changed either."""

    def __init__(self, **given: Any) -> None:
        """Raises ``Faults``."""
        cls, faults = type(self), list[Fault]()
        values = _read(cls, cls._prepared(given), (), faults)
        if faults:
            raise Faults(cls.__name__, faults)
        self.__dict__.update(values)

    @classmethod
    def _prepared(cls, value: Any) -> Any:
        """Fill in what is only implied, before anything is checked."""
        return value

    @classmethod
    def model_validate(cls, data: Any) -> Self:
        """Check what a file says, by the names in files. Raises ``Faults`` with all of them."""
        faults: list[Fault] = []
        group = cls.read(data, (), faults)
        if faults:
            raise Faults(cls.__name__, faults)
        return typing.cast(Self, group)

    @classmethod
    def read(cls, value: Any, path: Path, faults: list[Fault]) -> Any:
        """Check one value, as a ``Reader``."""
        if isinstance(value, cls):
            return value
        known = len(faults)
        values = _read(cls, cls._prepared(value), path, faults)
        return WRONG if len(faults) > known else cls._made(values)

    @classmethod
    def _made(cls, values: dict[str, Any]) -> Self:
        group = cls.__new__(cls)
        group.__dict__.update(values)
        return group

    def model_copy(self, *, update: Mapping[str, Any]) -> Self:
        """Give a copy with some settings replaced, which are not checked."""
        return self._made({**self.__dict__, **update})

    def model_dump(self) -> dict[str, Any]:
        """Give the settings by name, groups in them as mappings, all else as it is."""
        return {name: _dumped(value) for name, value in self.__dict__.items()}

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"{type(self).__name__} is frozen: use model_copy")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__} is frozen")

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self.__dict__ == other.__dict__

    def __hash__(self) -> int:
        return hash((type(self), *self.__dict__.values()))

    def __repr__(self) -> str:
        said = ", ".join(f"{name}={value!r}" for name, value in self.__dict__.items())
        return f"{type(self).__name__}({said})"


def settings_of(group: type[Group]) -> Mapping[str, Setting]:
    """Give a group's settings by their names in Python, in their order."""
    known = _SETTINGS.get(group)
    if known is None:
        known = _SETTINGS[group] = _settings(group)
    return known


def _settings(group: type[Group]) -> dict[str, Setting]:
    found: dict[str, Setting] = {}
    for name, annotation in typing.get_type_hints(group, include_extras=True).items():
        written = getattr(group, name, _NEEDED)
        said = written if isinstance(written, Setting) else Setting(default=written)
        found[name] = Setting(
            annotation=annotation,
            default=said.default,
            default_factory=said.default_factory,
            alias=said.alias or name,
            reader=reader_of(annotation),
        )
    return found


def _read(group: type[Group], value: Any, path: Path, faults: list[Fault]) -> dict[str, Any]:
    """Check a whole mapping; where there are faults, what is given is of no use."""
    if not isinstance(value, dict):
        faults.append(Fault(path=path, kind="wrong", said="must be a group of settings"))
        return {}
    values, known = {}, set()
    for name, each in settings_of(group).items():
        alias = each.alias
        known.add(alias)
        if alias in value:
            assert each.reader is not None
            values[name] = each.reader(value[alias], (*path, alias), faults)
        elif each.needed:
            faults.append(Fault(path=(*path, alias), kind="missing"))
        else:
            values[name] = each.without_a_value()
    faults += (Fault(path=(*path, key), kind="unknown") for key in value if key not in known)
    return values


def _dumped(value: Any) -> Any:
    if isinstance(value, Group):
        return value.model_dump()
    if isinstance(value, dict):
        return {key: _dumped(inner) for key, inner in value.items()}
    if isinstance(value, tuple):
        return tuple(map(_dumped, value))
    return value
