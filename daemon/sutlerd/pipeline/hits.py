"""The short way for what was asked before: from a request's text straight to its stored reply.

A bounded memo from (caller's scope and payer, method, parameters) to the fingerprint keeps
resolving off the way of a cache hit. It must be emptied when configuration or prompts change,
and holds only what was resolved, and found in the cache or stored, once before.

Hits are accounted here by two additions each; who keeps the accounts takes them now and then.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import orjson

from sutlerd.cache.contract import Store
from sutlerd.ledger.rows import Payer
from sutlerd.pipeline.idempotency import RequestLog
from sutlerd.pipeline.result import served_ending, served_from
from sutlerd.pipeline.tracing import Tracer

MAX_MEMO_BYTES = 32 * 1024 * 1024
MAX_PARAMS_BYTES = 64 * 1024
ENTRY_OVERHEAD_BYTES = 400
MAX_TALLIES = 4096


class HitTally:
    """Hits of one payer on one model's answers, and what they would have cost; mutable."""

    __slots__ = ("hits", "model", "payer", "provider", "saved_nanousd")

    def __init__(self, payer: Payer, provider: str, model: str) -> None:
        self.payer = payer
        self.provider = provider
        self.model = model
        self.hits = 0
        self.saved_nanousd = 0


class HitTallies:
    """All tallies; they outlive the way of hits that counts in them.

    ``forget`` has it forget its requests, and with them the tallies that they count in.
    """

    def __init__(self) -> None:
        self._tallies: dict[tuple[Payer, str, str], HitTally] = {}
        self.forget: Callable[[], None] = lambda: None

    def of(self, payer: Payer, provider: str, model: str) -> HitTally:
        place = (payer, provider, model)
        tally = self._tallies.get(place)
        if tally is None:
            tally = self._tallies[place] = HitTally(payer, provider, model)
        return tally

    def take(self) -> list[tuple[HitTally, int, int]]:
        """Give hits and nano-dollars saved since this was asked last."""
        taken = []
        for tally in self._tallies.values():
            if tally.hits:
                taken.append((tally, tally.hits, tally.saved_nanousd))
                tally.hits = tally.saved_nanousd = 0
        if len(self._tallies) > MAX_TALLIES:
            self._tallies.clear()
            self.forget()
        return taken


class Known:
    """A request whose key is known. ``ending`` is that of the answer that was read last, which
    tells who served it and what it cost: an answer that ends otherwise is read anew."""

    __slots__ = ("ending", "key", "payer", "saved_nanousd", "tally")

    tally: HitTally

    def __init__(self, key: bytes, payer: Payer) -> None:
        self.key = key
        self.payer = payer
        self.ending = _NO_ENDING
        self.saved_nanousd = 0


#: Differ between requests that are one and the same.
_LEFT_OUT = ("request_id", "metadata")
#: No answer ends so.
_NO_ENDING = b"\0"


class HitPath:
    """The memo, and the look into the store.

    Parameters are compared as they were written, but for ``metadata``, which a caller's traces
    change every time, and ``request_id``, which who calls these methods has taken out and
    checked. The text of another order or spelling is resolved once more and leads to the same
    fingerprint. Without ``remembers`` every request goes the long way.
    """

    def __init__(
        self,
        store: Store,
        request_log: RequestLog,
        tallies: HitTallies,
        *,
        max_memo_bytes: int = MAX_MEMO_BYTES,
        remembers: bool = True,
    ) -> None:
        self._store = store
        self._request_log = request_log
        self._memo: dict[tuple[str, str, bytes], Known] = {}
        self._memo_bytes = 0
        self._tallies = tallies
        tallies.forget = self.forget_all
        self._max_memo_bytes = max_memo_bytes
        self._remembers = remembers

    def find(
        self, place: str, uid: int, method: str, params: Mapping[str, Any], request_id: str | None
    ) -> bytes | None:
        """Give the stored payload of a request seen before, or ``None`` for the long way.

        ``place`` names scope and payer, as for ``learn``. What is given is tallied.
        """
        if "metadata" in params:
            if type(params["metadata"]) is not dict:
                return None
            params = {name: params[name] for name in params if name != "metadata"}
        known = self._memo.get((place, method, orjson.dumps(params)))
        if known is None:
            return None
        if request_id is not None and not self._request_log.agrees(uid, request_id, known.key):
            return None
        payload = self._store.get(known.key)
        if payload is not None:
            if not payload.endswith(known.ending):
                self._read(known, payload)
            tally = known.tally
            tally.hits += 1
            tally.saved_nanousd += known.saved_nanousd
        return payload

    def learn(
        self, place: str, payer: Payer, method: str, params: Mapping[str, Any], key: bytes
    ) -> None:
        """Remember what a request without its ``request_id`` resolved to, and who pays."""
        text = orjson.dumps({name: params[name] for name in params if name not in _LEFT_OUT})
        if len(text) > MAX_PARAMS_BYTES or not self._remembers:
            return
        if self._memo_bytes > self._max_memo_bytes:
            self.forget_all()
        self._memo[place, method, text] = Known(key, payer)
        self._memo_bytes += len(text) + len(key) + ENTRY_OVERHEAD_BYTES

    def forget_all(self) -> None:
        self._memo.clear()
        self._memo_bytes = 0

    def _read(self, known: Known, payload: bytes) -> None:
        """Find out whose answer it is, and where its hits are counted."""
        served = served_from(payload)
        known.ending = served_ending(payload)
        known.saved_nanousd = served.saved_nanousd or 0
        known.tally = self._tallies.of(known.payer, served.provider, served.model)


class TracedHitPath(HitPath):
    """The same where traces are sent: counts every hit, and has one in so many traced."""

    def __init__(self, *args: Any, tracer: Tracer, **options: Any) -> None:
        super().__init__(*args, **options)
        self._tracer = tracer

    def find(
        self, place: str, uid: int, method: str, params: Mapping[str, Any], request_id: str | None
    ) -> bytes | None:
        payload = super().find(place, uid, method, params, request_id)
        if payload is not None and self._tracer.hit_is_due():
            served = served_from(payload)
            said = params.get("metadata") or {}
            self._tracer.hit(
                uid,
                served.provider,
                served.model,
                request_id=request_id,
                traceparent=said.get("traceparent"),
            )
        return payload
