"""A request under an id that was used before is answered as it was then, for a day.

Records are bounded like everything that is stored. An answer that is in the
cache is only pointed to. What cost nothing, a cache hit, leaves no record: asking again
costs nothing either.
"""

from __future__ import annotations

import hashlib

from sutlerd.cache.contract import MAX_KEY_BYTES, Store
from sutlerd.cache.fingerprint import FINGERPRINT_BYTES
from sutlerd.domain.errors import InvalidParams
from sutlerd.domain.record import record

KEPT_S = 24 * 3600.0
_HOLDS = b"\x00"
_STORED = b"\x02"
_HASH_BYTES = FINGERPRINT_BYTES


@record
class Asked:
    """A request a caller gave an id to; ``request_hash`` is the key of what was asked."""

    uid: int
    request_id: str
    request_hash: bytes

    @property
    def record_key(self) -> bytes:
        return _record_key(self.uid, self.request_id)


def _record_key(uid: int, request_id: str) -> bytes:
    key = b"idem:%d:%b" % (uid, request_id.encode())
    return key if len(key) <= MAX_KEY_BYTES else b"idem:" + hashlib.sha256(key).digest()


class RequestLog:
    """Answers by (uid, request id).

    ``store`` keeps what was paid for through a restart; ``passing`` is memory, for what cost
    nothing: asking for that again after a crash costs nothing either. Memory also knows which
    ids are in the store since the start, so that the way of a hit looks nowhere else.
    """

    def __init__(self, store: Store, passing: Store) -> None:
        self._store = store
        self._passing = passing

    def answer_to(self, asked: Asked) -> bytes | None:
        """Give the answer given before. Raises ``InvalidParams`` if it was another request."""
        record = self._record(asked)
        if record is None:
            return None
        if record[:_HASH_BYTES] != asked.request_hash:
            raise reused(asked.request_id)
        return record[_HASH_BYTES + 1 :]

    def agrees(self, uid: int, request_id: str, request_hash: bytes) -> bool:
        """Tell whether this id is new since the start, or was used for this very request.

        On the way of every hit: takes the parts of an ``Asked`` rather than one made for it.
        """
        record = self._passing.get(_record_key(uid, request_id))
        return record is None or record[:_HASH_BYTES] == request_hash

    def keep(self, asked: Asked, *, payload: bytes, was_free: bool) -> None:
        """Note an answer, whole: what the cache has of it may go sooner."""
        rest = _HOLDS + payload
        key, scope = asked.record_key, f"idem:{asked.uid}"
        if was_free:
            self._passing.put(key, asked.request_hash + rest, scope=scope, ttl_s=KEPT_S)
        else:
            self._passing.put(key, asked.request_hash + _STORED, scope=scope, ttl_s=KEPT_S)
            self._store.put(key, asked.request_hash + rest, scope=scope, ttl_s=KEPT_S)

    def _record(self, asked: Asked) -> bytes | None:
        key = asked.record_key
        record = self._passing.get(key)
        if record is None or record[_HASH_BYTES:] == _STORED:
            record = self._store.get(key)
        return record


def reused(request_id: str) -> InvalidParams:
    return InvalidParams(
        f"params.request_id: {request_id} was used for another request; give each its own"
    )
