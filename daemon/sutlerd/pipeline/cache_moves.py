"""Stored answers on their way out of the cache and back into one, some at a time.

Both ways are made of steps that each fit into a line of the wire, so neither side holds more
than a step of it, and a step that fails has changed nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import orjson

from sutlerd.cache.contract import Store, StoreUnavailable
from sutlerd.cache.fingerprint import KEY_VERSION, TENANT_BYTES, tenant_part
from sutlerd.config.schema_llm import CacheConfig
from sutlerd.domain.errors import InvalidParams, Overloaded
from sutlerd.domain.ports import Clock
from sutlerd.pipeline.costs import Costs
from sutlerd.prompts.library import PromptLibrary

if TYPE_CHECKING:
    from sutlerd.pipeline.cache_lines import ReplyLine, VectorLine

#: What one step of an export looks at, and what it gives unless one answer alone is larger.
STEP_ENTRIES: Final = 256
STEP_BYTES: Final = 512 * 1024
#: Answers are put without letting anybody else have a turn.
_AT_ONCE: Final = 32
#: An import takes free room only, so that it drives nobody's answers out; the store needs
#: some of its room for itself.
_FILLED_SHARE: Final = 0.7


class CacheMoves:
    """``version`` is this program's, told in what it gives."""

    def __init__(
        self,
        *,
        store: Store,
        cache: CacheConfig,
        library: PromptLibrary,
        costs: Costs,
        version: str,
        clock: Clock,
    ) -> None:
        self._store = store
        self._cache = cache
        self._library = library
        self._costs = costs
        self._version = version
        self._clock = clock

    async def give(self, scope: str, after: bytes | None) -> bytes:
        """Give the lines that follow the question ``after``; ``None`` begins, with a head.

        The result object: ``entries``, ``next`` (hex; null at the end), ``head``. Raises
        ``Overloaded`` where the store cannot be read now.
        """
        from sutlerd.pipeline.cache_lines import line_of

        whose = tenant_part(scope)
        try:
            page = await self._store.page(
                whose, whose + (after or b""), limit=STEP_ENTRIES, limit_bytes=STEP_BYTES
            )
        except StoreUnavailable as error:
            raise Overloaded(str(error), retry_after_s=5.0) from None
        follows = None if page.next_after is None else page.next_after[TENANT_BYTES:].hex()
        lines = [line_of(entry) for entry in page.entries if entry.scope == scope]
        result: dict[str, Any] = {
            "entries": [line for line in lines if line is not None],
            "next": follows,
        }
        if after is None:
            result["head"] = self._head()
        return orjson.dumps(result)

    def _head(self) -> dict[str, Any]:
        """Tell what the answers stand on that is no answer itself."""
        by_name = self._library.registry.by_name
        templates = [template for versions in by_name.values() for template in versions]
        return {
            "version": self._version,
            "key_version": KEY_VERSION,
            "price_table": self._costs.price_hash,
            "prompts": {template.key: template.hash for template in templates},
        }

    async def take(
        self,
        scope: str,
        lines: Sequence[ReplyLine | VectorLine],
        *,
        key_version: int,
        ttl_s: float | None,
    ) -> dict[str, int]:
        """Store the answers that are not there yet; give how many were stored, and not.

        Without ``ttl_s`` each lives as long as it would have where it comes from; never
        longer than the configuration allows. Raises ``InvalidParams``, and ``Overloaded``
        where there is no room: then a part of ``lines`` may be stored.
        """
        from sutlerd.pipeline.cache_lines import payload_of, question_of

        self._check(key_version)
        whose = tenant_part(scope)
        stored: list[bytes] = []
        present = expired = 0
        for place, line in enumerate(lines):
            if place % _AT_ONCE == _AT_ONCE - 1:
                await asyncio.sleep(0)
            key = whose + question_of(line)
            left_s = line.expires_unix_s - self._clock.unix_s() if ttl_s is None else ttl_s
            if left_s <= 0:
                expired += 1
            elif self._store.holds(key):
                present += 1
            else:
                payload = payload_of(line)
                self._check_room(len(payload))
                lives_s = min(left_s, self._cache.max_ttl_s)
                self._store.put(key, payload, scope=scope, ttl_s=lives_s)
                stored.append(key)
        await self._store.flush()
        kept = sum(self._store.holds(key) for key in stored)
        return {
            "stored": kept,
            "present": present,
            "expired": expired,
            "dropped": len(stored) - kept,
        }

    def _check(self, key_version: int) -> None:
        if not self._cache.enabled:
            raise InvalidParams("this daemon's cache is off: llm.cache.enabled")
        if key_version != KEY_VERSION:
            raise InvalidParams(
                f"params.key_version: these answers are kept under keys of version {key_version}, "
                f"and this daemon's are of version {KEY_VERSION}: none of them would be found"
            )

    def _check_room(self, size_bytes: int) -> None:
        stats = self._store.stats(None)
        used = max(stats["size_bytes"], stats.get("pages_bytes", 0))
        if used + size_bytes > _FILLED_SHARE * stats["limit_bytes"]:
            raise Overloaded(
                f"the cache has no room for them: {used} bytes of {stats['limit_bytes']} are used, "
                "and an import drives nothing out; clear it, or raise llm.cache.max_size_mb",
                retryable=False,
            )
