"""Cache entries that prove themselves: the payload can be told from the key."""

from __future__ import annotations

import hashlib
from pathlib import Path

from sutlerd.cache.lmdb_place import Opener, open_place
from sutlerd.cache.lmdb_store import LmdbStore
from sutlerd.domain.ports import Clock, EventLog

MIB = 1 << 20


def key_of(number: int) -> bytes:
    return hashlib.sha256(b"%d" % number).digest()


def payload_of(number: int, size_bytes: int = 1500) -> bytes:
    pattern = hashlib.sha512(key_of(number)).digest()
    return (pattern * (size_bytes // len(pattern) + 1))[:size_bytes]


def put(store: LmdbStore, number: int, size_bytes: int = 1500) -> None:
    payload = payload_of(number, size_bytes)
    store.put(key_of(number), payload, scope=f"uid:{number % 3}", ttl_s=3600)


def found(store: LmdbStore, numbers: range) -> list[int]:
    """Give the numbers that are stored. A wrong payload fails the test at once."""
    hits = []
    for number in numbers:
        payload = store.get(key_of(number))
        if payload is not None:
            assert payload == payload_of(number, len(payload)), f"a wrong payload for {number}"
            hits.append(number)
    return hits


def open_store(
    folder: Path,
    *,
    clock: Clock,
    log: EventLog,
    max_bytes: int = 16 * MIB,
    opener: Opener = open_place,
) -> LmdbStore:
    return LmdbStore(folder, max_bytes=max_bytes, clock=clock, log=log, opener=opener)
