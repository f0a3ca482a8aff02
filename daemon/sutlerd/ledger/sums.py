"""Sums of usage under one key, and how sums of many keys are shown. Pure.

Every figure is an integer, so that sums are exact in any order.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

from sutlerd.ledger.rows import FIGURES, Payer, UsageRow


class AccountKey(NamedTuple):
    """What is told apart. ``None`` is what the caller did not say."""

    day: str
    uid: int
    job: str | None
    component: str | None
    project: str | None
    provider: str
    model: str


#: What usage may be grouped by.
GROUPS: Final = AccountKey._fields


class Sums:
    """Mutable figures; ``errors`` counts calls that failed, by the wire's type."""

    __slots__ = ("errors", *FIGURES)

    errors: dict[str, int]
    calls: int
    cached: int
    coalesced: int
    attempts: int
    tokens_in: int
    tokens_out: int
    cached_tokens_in: int
    cache_write_tokens_in: int
    reasoning_tokens_out: int
    cost_nanousd: int
    saved_nanousd: int
    unpriced: int
    unknown: int
    waited_ms: int

    def __init__(self) -> None:
        self.errors = {}
        for name in FIGURES:
            setattr(self, name, 0)

    def add_row(self, row: UsageRow) -> None:
        # Written out, because it is on the way of every call: a loop takes three times as long.
        self.calls += row.calls
        self.cached += row.cached
        self.coalesced += row.coalesced
        self.saved_nanousd += row.saved_nanousd
        self.waited_ms += row.waited_ms
        self.attempts += row.attempts
        self.tokens_in += row.tokens_in
        self.tokens_out += row.tokens_out
        self.cached_tokens_in += row.cached_tokens_in
        self.cache_write_tokens_in += row.cache_write_tokens_in
        self.reasoning_tokens_out += row.reasoning_tokens_out
        self.cost_nanousd += row.cost_nanousd
        self.unpriced += row.unpriced
        self.unknown += row.unknown
        if row.error is not None:
            self.errors[row.error] = self.errors.get(row.error, 0) + row.calls

    def add(self, other: Sums) -> None:
        for name in FIGURES:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for error, count in other.errors.items():
            self.errors[error] = self.errors.get(error, 0) + count

    def to_wire(self) -> dict[str, Any]:
        """Give the figures, ``errors`` as their number and each type's under ``error_types``."""
        figures = {name: getattr(self, name) for name in FIGURES}
        failed = sum(self.errors.values())
        return {**figures, "errors": failed, "error_types": dict(sorted(self.errors.items()))}

    def encode(self, key: AccountKey) -> bytes:
        """Write one account as it is stored; integers of any size."""
        figures = [getattr(self, name) for name in FIGURES]
        return json.dumps([key, figures, self.errors], separators=(",", ":")).encode()

    @classmethod
    def decode(cls, stored: bytes) -> tuple[AccountKey, Sums]:
        key, figures, errors = json.loads(stored)
        sums = cls()
        for name, value in zip(FIGURES, figures, strict=False):
            setattr(sums, name, value)
        sums.errors = errors
        return AccountKey(*key), sums


Entry = tuple[AccountKey, Sums]


def key_of(row: UsageRow) -> AccountKey:
    # What ``AccountKey`` does in the end, without its own steps: on the way of every call.
    return tuple.__new__(AccountKey, (row.day, *row.payer, row.provider, row.model))


def payer_of_key(key: AccountKey) -> Payer:
    return Payer(key.uid, key.job, key.component, key.project)


def grouped(entries: Iterable[Entry], by: Sequence[str]) -> list[dict[str, Any]]:
    """Add up accounts that agree in all of ``by``; none at all gives one row of everything.

    Rows are in the order of their groups' values, what nobody named first.
    """
    places = [GROUPS.index(name) for name in by]
    groups: dict[tuple[Any, ...], Sums] = {}
    for key, sums in entries:
        group = tuple([key[place] for place in places])
        total = groups.get(group)
        if total is None:
            total = groups[group] = Sums()
        total.add(sums)
    return [
        {**dict(zip(by, group, strict=True)), **groups[group].to_wire()}
        for group in sorted(groups, key=_order)
    ]


def _order(group: tuple[Any, ...]) -> list[tuple[bool, Any]]:
    return [(value is not None, value) for value in group]
