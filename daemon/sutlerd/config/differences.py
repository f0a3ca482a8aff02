"""What a new configuration changes, for people; and what of it a running daemon cannot take.

Secrets are masked on both sides: that one was replaced shows, by what does not. Pure.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from decimal import Decimal
from fractions import Fraction
from pathlib import Path as FilePath
from typing import Any, Final

from sutlerd.config.group import Group, settings_of
from sutlerd.config.problems import Path, dotted
from sutlerd.config.schema import Config
from sutlerd.config.secret import MASK, Secret
from sutlerd.domain.record import record

#: Settings that a daemon keeps from its start to its end, with the reason. A group stands for
#: all that is in it.
NEEDS_RESTART: Final[Mapping[str, str]] = {
    "daemon.socket": "the socket is bound once",
    "daemon.socket_mode": "the socket is bound once",
    "daemon.socket_group": "the socket is bound once",
    "daemon.state_dir": "the folder is locked and in use",
    "daemon.cache_dir": "the folder is locked and in use",
    "daemon.log_format": "one log has one format",
    "limits.connections": "descriptors are shared out once",
    "llm.cache.enabled": "the store is opened once",
    "llm.cache.backend": "the store is opened once",
    "llm.cache.max_size_mb": "the store's map is sized once",
    "llm.cache.redis_url": "the second tier is connected once",
    "llm.cache.redis_timeout_s": "the second tier is connected once",
    "llm.budget.timezone": "the account's days are told by it",
    "llm.ledger.rows_days": "the ledger is opened once",
    "llm.monitoring": "its listeners and senders are begun once",
    "http": "its listeners are bound once",
}

_MAX_SHOWN = 200
_ABSENT: Final = object()


@record
class Change:
    """One setting by its dotted path. ``before`` and ``after`` are JSON texts, ``None`` where
    the setting is not there; ``waits`` tells why it has to wait for a restart."""

    path: str
    before: str | None
    after: str | None
    waits: str | None = None

    def __str__(self) -> str:
        before = "nothing" if self.before is None else self.before
        after = "nothing" if self.after is None else self.after
        waits = "" if self.waits is None else f" (after a restart: {self.waits})"
        return f"{self.path}: {before} -> {after}{waits}"

    def to_wire(self) -> dict[str, str | None]:
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


def differences(before: Config, after: Config) -> tuple[Change, ...]:
    """List every setting whose value differs, in the order of the schema."""
    return tuple(_changes(before, after, ()))


def keep_until_restart(before: Config, after: Config) -> Config:
    """Give ``after`` with the values of ``before`` where a running daemon cannot take others."""
    kept = after
    for path in NEEDS_RESTART:
        kept = _with(kept, before, tuple(path.split(".")))
    return kept


def _with(group: Any, source: Any, path: tuple[str, ...]) -> Any:
    name, rest = path[0], path[1:]
    old, new = getattr(source, name), getattr(group, name)
    return group.model_copy(update={name: _with(new, old, rest) if rest else old})


def _changes(before: Any, after: Any, path: Path) -> Iterator[Change]:
    if isinstance(before, Group) and type(before) is type(after):
        for name, each in settings_of(type(before)).items():
            inner = (*path, each.alias)
            yield from _changes(getattr(before, name), getattr(after, name), inner)
    elif isinstance(before, dict) and isinstance(after, dict):
        for name in dict.fromkeys([*before, *after]):
            inner = (*path, name)
            yield from _changes(before.get(name, _ABSENT), after.get(name, _ABSENT), inner)
    elif before != after:
        place = dotted(path)
        text = _text(after)
        if text == _text(before) and text is not None:
            text += " (another one)"
        yield Change(path=place, before=_text(before), after=text, waits=_waits(path))


def _waits(path: Path) -> str | None:
    parts = tuple(str(part) for part in path)
    for name, reason in NEEDS_RESTART.items():
        setting = tuple(name.split("."))
        if parts[: len(setting)] == setting:
            return reason
    return None


def _text(value: Any) -> str | None:
    if value is _ABSENT or value is None:
        return None
    text = json.dumps(_plain(value), ensure_ascii=False)
    return text if len(text) <= _MAX_SHOWN else text[: _MAX_SHOWN - 1] + "…"


def _plain(value: Any) -> Any:
    if isinstance(value, Secret):
        return MASK if value.is_set else f"{value.origin} (not set)"
    if isinstance(value, Group):
        shown = {name: _plain(getattr(value, name)) for name in settings_of(type(value))}
        return {name: inner for name, inner in shown.items() if inner not in (None, [], {})}
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(inner) for inner in value]
    if isinstance(value, (Decimal, Fraction, FilePath)):
        return str(value)
    return value
