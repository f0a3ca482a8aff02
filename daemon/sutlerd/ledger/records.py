"""What stands in the ledger's file, byte for byte: reservations, ends, balances. Pure.

Every value begins with a checksum over its key and itself, so that a flipped bit, or a value
under another's key, is found when it is read and never taken for money.
"""

from __future__ import annotations

import hashlib
import zlib
from typing import Any, Final

import orjson

from sutlerd.domain.record import record
from sutlerd.domain.usage import Usage
from sutlerd.ledger.book import Account

FORMAT: Final = 1
_CHECKSUM_BYTES: Final = 4
_KEY_BYTES: Final = 8


class Damaged(Exception):
    """A stored value is not what was written."""


@record
class Held:
    """One attempt's reservation: for whom, of what, how much, in which accounts.

    ``attempt`` numbers the attempts of a ledger and never comes twice. ``given_id`` says that
    the caller chose ``request_id``, and may ask again under it. ``prices`` names the price
    table at ``unix_s``, the time of the reservation, to which the attempt belongs.
    """

    attempt: int
    request_id: str
    given_id: bool
    uid: int
    gid: int
    job: str | None
    component: str | None
    project: str | None
    provider: str
    model: str
    kind: str
    day: str
    unix_s: float
    amount_nanousd: int
    prices: str
    accounts: tuple[Account, ...]

    @property
    def name(self) -> str:
        return str(self.attempt)

    @property
    def key(self) -> bytes:
        return attempt_key(self.attempt)


@record
class Ended:
    """How an attempt ended, at what cost. ``state`` is ``settled``, ``unknown`` or
    ``amended``; ``served`` is the model that answered, ``usage`` what it used, as far as known.
    ``why`` tells an end that is not plain: ``charged_in_full``, ``overrun``, an amendment's.
    """

    held: Held
    state: str
    cost_nanousd: int
    ended_unix_s: float
    served: str | None = None
    usage: Usage | None = None
    why: str | None = None


_HELD: Final = tuple(name for name in Held.__annotations__ if name != "accounts")


def attempt_key(attempt: int) -> bytes:
    """Give the key of an attempt: in a database they stand in their order."""
    return attempt.to_bytes(_KEY_BYTES, "big")


def asker_key(attempt: int, uid: int, request_id: str) -> bytes:
    """Give the key of a request that shares an attempt: beside it, in any order."""
    digest = hashlib.blake2b(b"%d:%b" % (uid, request_id.encode()), digest_size=16)
    return attempt_key(attempt) + digest.digest()


def encode_asker(key: bytes, uid: int, request_id: str) -> bytes:
    return seal(key, orjson.dumps([uid, request_id]))


def decode_asker(key: bytes, stored: bytes) -> tuple[int, tuple[int, str]]:
    """Give the attempt, and who shares it."""
    uid, request_id = orjson.loads(unseal(key, stored))
    return int.from_bytes(key[:_KEY_BYTES], "big"), (uid, request_id)


def seal(key: bytes, payload: bytes) -> bytes:
    return zlib.crc32(payload, zlib.crc32(key)).to_bytes(_CHECKSUM_BYTES, "big") + payload


def unseal(key: bytes, stored: bytes) -> bytes:
    """Give the payload. Raises ``Damaged``."""
    payload = stored[_CHECKSUM_BYTES:]
    if seal(key, payload) != stored:
        raise Damaged(f"the value of {key!r} is not what was written")
    return payload


def encode_held(held: Held) -> bytes:
    return seal(held.key, orjson.dumps(_held_values(held)))


def decode_held(key: bytes, stored: bytes) -> Held:
    return _held_of(orjson.loads(unseal(key, stored)))


def encode_ended(ended: Ended) -> bytes:
    usage = ended.usage
    values = [
        _held_values(ended.held),
        ended.state,
        ended.cost_nanousd,
        ended.ended_unix_s,
        ended.served,
        None if usage is None else usage.to_wire(),
        ended.why,
    ]
    return seal(ended.held.key, orjson.dumps(values))


def decode_ended(key: bytes, stored: bytes) -> Ended:
    held, state, cost, ended_unix_s, served, usage, why = orjson.loads(unseal(key, stored))
    return Ended(
        held=_held_of(held),
        state=state,
        cost_nanousd=cost,
        ended_unix_s=ended_unix_s,
        served=served,
        usage=None if usage is None else Usage.from_wire(usage),
        why=why,
    )


def account_key(account: Account) -> bytes:
    """Give a balance's key: a digest, because names may be longer than a key."""
    spelled = orjson.dumps([account.budget, account.subject, account.span])
    return hashlib.blake2b(spelled, digest_size=16).digest()


def encode_balance(key: bytes, account: Account, settled_nanousd: int) -> bytes:
    spelled = [account.budget, account.subject, account.span, str(settled_nanousd)]
    return seal(key, orjson.dumps(spelled))


def decode_balance(key: bytes, stored: bytes) -> tuple[Account, int]:
    budget, subject, span, settled = orjson.loads(unseal(key, stored))
    return Account(budget=budget, subject=subject, span=span), int(settled)


def _held_values(held: Held) -> list[Any]:
    values = [getattr(held, name) for name in _HELD]
    return [*values, [[each.budget, each.subject, each.span] for each in held.accounts]]


def _held_of(values: list[Any]) -> Held:
    accounts = tuple(
        Account(budget=budget, subject=subject, span=span) for budget, subject, span in values[-1]
    )
    return Held(**dict(zip(_HELD, values[:-1], strict=True)), accounts=accounts)
