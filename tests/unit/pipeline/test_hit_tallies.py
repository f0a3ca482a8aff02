"""Hits are tallied on their short way by two additions, and none is lost or put to another."""

from __future__ import annotations

import orjson
import pytest

from sutlerd.cache.memory_store import MemoryStore
from sutlerd.ledger.rows import Payer
from sutlerd.pipeline import hits
from sutlerd.pipeline.hits import HitPath, HitTallies
from sutlerd.pipeline.idempotency import RequestLog
from tests.support.virtual_clock import VirtualClock


def payload(model: str, saved: int | None, content: str = 'x","model":"no') -> bytes:
    reply = {"content": content, "parsed": {"model": "nor this"}, "model": model}
    return orjson.dumps({**reply, "provider": "p", "usage": {}, "saved_nanousd": saved})


class Way:
    """The way of hits over a store whose answers a test changes."""

    def __init__(self) -> None:
        self.store = MemoryStore(max_bytes=1 << 20, clock=VirtualClock())
        self.tallies = HitTallies()
        self.path = HitPath(self.store, RequestLog(self.store, self.store), self.tallies)

    def put(self, key: bytes, answer: bytes) -> None:
        self.store.put(key, answer, scope="s", ttl_s=60.0)

    def learn(self, payer: Payer, key: bytes, text: str = "hi") -> None:
        self.path.learn(repr(payer), payer, "chat", {"prompt": text}, key)

    def hit(self, payer: Payer, times: int = 1, text: str = "hi") -> None:
        for _ in range(times):
            assert self.path.find(repr(payer), payer.uid, "chat", {"prompt": text}, None)

    def taken(self) -> dict[tuple[int, str | None, str], tuple[int, int]]:
        return {
            (tally.payer.uid, tally.payer.component, tally.model): (count, saved)
            for tally, count, saved in self.tallies.take()
        }


def test_hits_are_their_payers_and_their_models() -> None:
    way, one, two = Way(), Payer(1, None, "planner"), Payer(1)
    way.put(b"k", payload("large", 7))
    for payer in (one, two):
        way.learn(payer, b"k")
    way.hit(one, 3)
    way.hit(two, 2)
    assert way.taken() == {(1, "planner", "large"): (3, 21), (1, None, "large"): (2, 14)}
    assert way.taken() == {}
    way.hit(one)
    assert way.taken() == {(1, "planner", "large"): (1, 7)}


def test_an_answer_that_was_replaced_is_counted_as_what_it_is() -> None:
    way, payer = Way(), Payer(1)
    way.learn(payer, b"k")
    for model, saved in (("a", 5), ("a", 6), ("b", None)):
        way.put(b"k", payload(model, saved))
        way.hit(payer, 2)
    assert way.taken() == {(1, None, "a"): (4, 22), (1, None, "b"): (2, 0)}


def test_a_reload_and_too_many_payers_lose_no_hit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hits, "MAX_TALLIES", 3)
    way = Way()
    way.put(b"k", payload("large", 1))
    total = 0
    for uid in range(10):
        way.learn(Payer(uid), b"k")
        way.hit(Payer(uid), 2)
        if uid == 4:
            way.path = HitPath(way.store, RequestLog(way.store, way.store), way.tallies)
        if uid % 3 == 0:
            total += sum(count for count, _ in way.taken().values())
    total += sum(count for count, _ in way.taken().values())
    assert total == 20
