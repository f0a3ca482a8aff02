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
from sutlerd.pipeline.idempotency import Asked, RequestLog

MAX_MEMO_BYTES = 32 * 1024 * 1024
MAX_PARAMS_BYTES = 64 * 1024
ENTRY_OVERHEAD_BYTES = 250


class HitPath:
    """The memo, and the look into the store.

    Parameters are compared as they were written, but for ``request_id``, which the caller of
    these methods has taken out and checked. The text of another order or spelling is resolved
    once more and leads to the same fingerprint.
    """

    def __init__(
        self, store: Store, request_log: RequestLog, *, max_memo_bytes: int = MAX_MEMO_BYTES
    ) -> None:
        self._store = store
        self._request_log = request_log
        self._memo: dict[tuple[str, str, bytes], bytes] = {}
        self._memo_bytes = 0
        self._max_memo_bytes = max_memo_bytes

    def find(
        self, scope: str, uid: int, method: str, params: Mapping[str, Any], request_id: str | None
    ) -> bytes | None:
        """Give the stored payload of a request seen before, or ``None`` for the long way."""
        key = self._memo.get((scope, method, orjson.dumps(params)))
        if key is None:
            return None
        if request_id is not None:
            asked = Asked(uid=uid, request_id=request_id, request_hash=key)
            if not self._request_log.agrees(asked):
                return None
        return self._store.get(key)

    def learn(self, scope: str, method: str, params: Mapping[str, Any], key: bytes) -> None:
        """Remember what a request without its ``request_id`` resolved to."""
        text = orjson.dumps({name: params[name] for name in params if name != "request_id"})
        if len(text) > MAX_PARAMS_BYTES:
            return
        if self._memo_bytes > self._max_memo_bytes:
            self.forget_all()
        self._memo[scope, method, text] = key
        self._memo_bytes += len(text) + len(key) + ENTRY_OVERHEAD_BYTES

    def forget_all(self) -> None:
        self._memo.clear()
        self._memo_bytes = 0
