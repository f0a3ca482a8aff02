"""One entry as bytes: what it must say so that a wrong payload can never be handed out.

Pure: no clock, no file. Every store outside this process's memory keeps entries in this
form, so a swapped, foreign, cut or flipped value is a typed miss wherever it comes from.

Little-endian: format (4 bytes, the last one its version), stored_unix_s and expires_unix_s
(float64), lengths of key (u8), scope (u8) and payload (u32), key, scope (UTF-8), payload, and
the CRC-32 of all that.
"""

from __future__ import annotations

from enum import Enum
from struct import Struct
from struct import error as StructError
from zlib import crc32

from sutlerd.domain.record import record

FORMAT_VERSION = 1

#: An entry from further in the future than this was stored under a wrong clock.
FUTURE_TOLERANCE_S = 300.0

MAX_PAYLOAD_BYTES = 2**32 - 1

_NAME = b"SUE"
_FORMAT = _NAME + bytes([FORMAT_VERSION])
_HEADER = Struct("<4sddBBI")
_HEADER_BYTES = _HEADER.size
_CHECKSUM_BYTES = 4
_unpack_header = _HEADER.unpack_from

#: The CRC-32 of any bytes followed by their own CRC-32: one pass, and no copy to leave it out.
_SOUND = 0x2144DF1C


class Miss(Enum):
    """Why a stored record is no answer."""

    #: Not an entry, cut, flipped, or with something behind its end.
    DAMAGED = "damaged"
    #: Of another format version, older or newer; what follows is not looked at.
    OTHER_VERSION = "other_version"
    #: A sound entry, found under a key that is not its own.
    OTHER_KEY = "other_key"
    FROM_THE_FUTURE = "from_the_future"
    EXPIRED = "expired"


@record
class Entry:
    """A whole entry, for those that move entries rather than answer from them."""

    key: bytes
    scope: str
    payload: bytes
    stored_unix_s: float
    expires_unix_s: float


def encode(entry: Entry) -> bytes:
    """Give the record. Raises ValueError where a part is longer than its length field."""
    scope = entry.scope.encode()
    if len(entry.key) > 255 or len(scope) > 255 or len(entry.payload) > MAX_PAYLOAD_BYTES:
        raise ValueError("an entry takes a key and a scope of 255 bytes and a payload of 4 GiB")
    head = _HEADER.pack(
        _FORMAT,
        entry.stored_unix_s,
        entry.expires_unix_s,
        len(entry.key),
        len(scope),
        len(entry.payload),
    )
    checked = b"".join((head, entry.key, scope, entry.payload))
    return checked + crc32(checked).to_bytes(_CHECKSUM_BYTES, "little")


def payload_of(record: bytes, key: bytes, now_unix_s: float) -> bytes | Miss:
    """Give the payload stored for ``key``, or why there is none.

    This is the hot path of every hit: one pass over the bytes, one copy.
    """
    try:
        name, stored_unix_s, expires_unix_s, key_bytes, scope_bytes, payload_bytes = _unpack_header(
            record
        )
    except StructError:
        return Miss.DAMAGED
    if name != _FORMAT:
        return Miss.OTHER_VERSION if name[:3] == _NAME else Miss.DAMAGED
    if crc32(record) != _SOUND:
        return Miss.DAMAGED
    payload_from = _HEADER_BYTES + key_bytes + scope_bytes
    if len(record) != payload_from + payload_bytes + _CHECKSUM_BYTES:
        return Miss.DAMAGED
    if record[_HEADER_BYTES : _HEADER_BYTES + key_bytes] != key:
        return Miss.OTHER_KEY
    # Written so that NaN, which compares as false with everything, is a miss too.
    if not stored_unix_s <= now_unix_s + FUTURE_TOLERANCE_S:
        return Miss.FROM_THE_FUTURE
    if not now_unix_s < expires_unix_s:
        return Miss.EXPIRED
    return record[payload_from:-_CHECKSUM_BYTES]


def decode(record: bytes, key: bytes, now_unix_s: float) -> Entry | Miss:
    """Give the whole entry stored for ``key``, or why there is none."""
    payload = payload_of(record, key, now_unix_s)
    if isinstance(payload, Miss):
        return payload
    header = _unpack_header(record)
    scope_from = _HEADER_BYTES + len(key)
    try:
        scope = record[scope_from : scope_from + header[4]].decode()
    except UnicodeDecodeError:
        return Miss.DAMAGED
    return Entry(
        key=key,
        scope=scope,
        payload=payload,
        stored_unix_s=header[1],
        expires_unix_s=header[2],
    )
