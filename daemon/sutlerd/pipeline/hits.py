"""The short way for what was asked before: from a request's text straight to its stored reply.

A bounded memo from (caller's scope, method, parameters) to the fingerprint keeps resolving
off the way of a cache hit. It must be emptied when configuration or prompts change, and
holds only what was resolved, and found in the cache or stored, once before.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from sutlerd.cache.contract import Store

#: What only addresses or labels a call; everything else is part of what was asked.
VOLATILE = frozenset({"request_id", "labels", "timeout_s", "lane", "metadata"})

MAX_MEMO_BYTES = 32 * 1024 * 1024
MAX_PARAMS_BYTES = 64 * 1024


class HitPath:
    """The memo, and the look into the store."""

    def __init__(self, store: Store, *, max_memo_bytes: int = MAX_MEMO_BYTES) -> None:
        self._store = store
        self._memo: dict[tuple[str, str, bytes], bytes] = {}
        self._memo_bytes = 0
        self._max_memo_bytes = max_memo_bytes
        self.hits = 0

    def find(
        self, scope: str, method: str, params: Mapping[str, Any]
    ) -> tuple[bytes, bytes] | None:
        """Give the fingerprint and the stored payload of a request seen before, or ``None``."""
        key = self._memo.get((scope, method, _core(params)))
        if key is None:
            return None
        payload = self._store.get(key)
        if payload is None:
            return None
        self.hits += 1
        return key, payload

    def learn(self, scope: str, method: str, params: Mapping[str, Any], key: bytes) -> None:
        core = _core(params)
        if len(core) > MAX_PARAMS_BYTES:
            return
        if self._memo_bytes > self._max_memo_bytes:
            self.forget_all()
        self._memo[scope, method, core] = key
        self._memo_bytes += len(core) + len(key) + 200

    def forget_all(self) -> None:
        self._memo.clear()
        self._memo_bytes = 0


def _core(params: Mapping[str, Any]) -> bytes:
    return orjson.dumps({name: params[name] for name in params if name not in VOLATILE})
