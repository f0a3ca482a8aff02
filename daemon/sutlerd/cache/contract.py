"""What the pipeline may expect of a cache.

Two tiers. The local ``Store`` answers in microseconds on the event loop itself; the
``SecondTier`` is shared between nodes and is asked only after a local miss, under its own
short time limit. Both fail open: what goes wrong in them is a miss and a counter, never an
exception and never a wrong payload. Payloads are opaque bytes. A *scope* (``"uid:1000"``)
says whose an entry is, for statistics and clearing; who may read what is decided by the
fingerprint, which the tenant is part of.
"""

from __future__ import annotations

from types import TracebackType
from typing import Protocol, Self

from sutlerd.cache.entry import Entry
from sutlerd.domain.record import record

#: Scopes of the idempotency store, which a user's "clear my cache" leaves alone.
KEPT_SCOPES = "idem:"

MAX_KEY_BYTES = 128
MAX_SCOPE_BYTES = 255


def can_be_named(key: bytes, scope: str) -> bool:
    """Say whether every store can take an entry of this key and scope."""
    try:
        return 0 < len(key) <= MAX_KEY_BYTES and len(scope.encode()) <= MAX_SCOPE_BYTES
    except UnicodeEncodeError:
        return False


class StoreUnavailable(Exception):
    """An explicit order (clear, page) cannot be carried out now; the message says why."""


@record
class Page:
    """Some of the entries below a prefix, in the order of their keys.

    ``next_after`` is where to go on; ``None`` if these were the last.
    """

    entries: tuple[Entry, ...]
    next_after: bytes | None


class Store(Protocol):
    """The local tier. All methods are for the event loop's thread."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    def get(self, key: bytes) -> bytes | None:
        """Give the payload, or ``None`` for every kind of miss. Waits for nothing."""

    def put(self, key: bytes, payload: bytes, *, scope: str, ttl_s: float) -> None:
        """Store lazily. A ``get`` right after it finds the payload, written or not.

        ``ttl_s`` of 0 or less stores nothing. What cannot be stored is dropped and counted.
        """

    def holds(self, key: bytes) -> bool:
        """Say whether ``get`` would find a payload; this is no use of it and not counted."""

    async def page(self, prefix: bytes, after: bytes, *, limit: int, limit_bytes: int) -> Page:
        """Give entries whose keys begin with ``prefix`` and follow ``after``.

        At most ``limit`` are looked at, and no more are given once they hold ``limit_bytes``.
        What was put before is among them. Raises StoreUnavailable.
        """

    async def clear(self, scope: str | None) -> int:
        """Remove a scope's entries and give their number.

        ``None`` means every scope but those that begin with ``KEPT_SCOPES``. Raises
        StoreUnavailable where entries may be left that would be served later.
        """

    def stats(self, scope: str | None) -> dict[str, int | float]:
        """Give ``entries``, ``size_bytes`` and ``limit_bytes``; for ``None`` all counters too."""

    async def flush(self) -> None:
        """Wait until what was put before is stored or dropped."""


class SecondTier(Protocol):
    """A store shared between nodes. All methods are for the event loop's thread."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    async def get(self, key: bytes) -> bytes | None:
        """Give the payload, or ``None`` for a miss or a failure, within the time limit."""

    def put(self, key: bytes, payload: bytes, *, ttl_s: float) -> None:
        """Send in the background; dropped and counted where the queue is full."""

    def stats(self) -> dict[str, int]:
        """Give the counters; ``up`` is 1 while the server answers."""
