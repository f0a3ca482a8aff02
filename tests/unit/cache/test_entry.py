"""Entries as bytes: what comes back is what was stored, or a miss that says why."""

from __future__ import annotations

import dataclasses
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sutlerd.cache.entry import (
    FORMAT_VERSION,
    FUTURE_TOLERANCE_S,
    Entry,
    Miss,
    decode,
    encode,
    payload_of,
)

NOW_UNIX_S = 1.8e9

STORED = Entry(
    key=bytes(range(32)),
    scope="uid:1000",
    payload=b'{"content":"Paris"}',
    stored_unix_s=NOW_UNIX_S,
    expires_unix_s=NOW_UNIX_S + 3600,
)

entries = st.builds(
    Entry,
    key=st.binary(min_size=1, max_size=128),
    scope=st.text(st.characters(codec="utf-8"), max_size=60),
    payload=st.binary(max_size=400),
    stored_unix_s=st.just(NOW_UNIX_S),
    expires_unix_s=st.floats(NOW_UNIX_S + 1, 1e12),
)


@given(entries)
def test_an_entry_comes_back_as_it_was_stored(entry: Entry) -> None:
    record = encode(entry)
    assert decode(record, entry.key, NOW_UNIX_S) == entry
    assert payload_of(record, entry.key, NOW_UNIX_S) == entry.payload


@pytest.mark.fault("S7")
@given(entries, st.data())
def test_a_flipped_bit_is_a_miss_wherever_it_is(entry: Entry, data: st.DataObject) -> None:
    record = bytearray(encode(entry))
    place = data.draw(st.integers(0, len(record) - 1))
    record[place] ^= 1 << data.draw(st.integers(0, 7))
    assert isinstance(payload_of(bytes(record), entry.key, NOW_UNIX_S), Miss)


@pytest.mark.fault("S7")
def test_every_other_value_of_every_byte_is_a_miss() -> None:
    record = encode(STORED)
    for place in range(len(record)):
        for value in set(range(256)) - {record[place]}:
            flipped = record[:place] + bytes([value]) + record[place + 1 :]
            assert isinstance(payload_of(flipped, STORED.key, NOW_UNIX_S), Miss), place


@pytest.mark.fault("S7")
def test_an_entry_cut_or_lengthened_anywhere_is_a_miss() -> None:
    record = encode(STORED)
    for length in range(len(record)):
        assert payload_of(record[:length], STORED.key, NOW_UNIX_S) is Miss.DAMAGED
    for tail in (b"\0", b"x" * 4, record):
        assert payload_of(record + tail, STORED.key, NOW_UNIX_S) is Miss.DAMAGED


@pytest.mark.fault("S7")
def test_an_entry_under_anothers_key_is_a_miss() -> None:
    record = encode(STORED)
    assert payload_of(record, b"\xff" * 32, NOW_UNIX_S) is Miss.OTHER_KEY
    assert payload_of(record, STORED.key[:-1], NOW_UNIX_S) is Miss.OTHER_KEY
    assert payload_of(record, STORED.key + b"x", NOW_UNIX_S) is Miss.OTHER_KEY


@given(st.binary(max_size=200))
def test_foreign_bytes_are_damage(record: bytes) -> None:
    assert payload_of(record, STORED.key, NOW_UNIX_S) in (Miss.DAMAGED, Miss.OTHER_VERSION)


@pytest.mark.fault("S14")
@pytest.mark.parametrize("version", [0, FORMAT_VERSION - 1, FORMAT_VERSION + 1, 255])
def test_another_format_version_is_a_miss_of_its_own(version: int) -> None:
    record = bytearray(encode(STORED))
    record[3] = version
    assert payload_of(bytes(record), STORED.key, NOW_UNIX_S) is Miss.OTHER_VERSION


@pytest.mark.fault("T7")
def test_an_entry_from_tomorrow_is_a_miss_and_one_from_a_moment_ahead_is_not() -> None:
    def stored_ahead_by(ahead_s: float) -> bytes | Miss:
        entry = dataclasses.replace(
            STORED, stored_unix_s=NOW_UNIX_S + ahead_s, expires_unix_s=NOW_UNIX_S + 1e6
        )
        return payload_of(encode(entry), entry.key, NOW_UNIX_S)

    assert stored_ahead_by(FUTURE_TOLERANCE_S) == STORED.payload
    assert stored_ahead_by(FUTURE_TOLERANCE_S + 1) is Miss.FROM_THE_FUTURE
    assert stored_ahead_by(86_400) is Miss.FROM_THE_FUTURE


@pytest.mark.fault("T7")
@pytest.mark.parametrize("left_s", [0.0, -0.001, -3600.0])
def test_an_entry_whose_time_is_up_is_a_miss(left_s: float) -> None:
    entry = dataclasses.replace(
        STORED, stored_unix_s=NOW_UNIX_S - 7200, expires_unix_s=NOW_UNIX_S + left_s
    )
    assert payload_of(encode(entry), entry.key, NOW_UNIX_S) is Miss.EXPIRED


@pytest.mark.parametrize("field", ["stored_unix_s", "expires_unix_s"])
def test_a_time_that_is_no_number_is_a_miss(field: str) -> None:
    entry = dataclasses.replace(STORED, **{field: math.nan})
    assert isinstance(payload_of(encode(entry), entry.key, NOW_UNIX_S), Miss)


@pytest.mark.parametrize(("key", "scope"), [(b"k" * 256, "s"), (b"k", "s" * 256)])
def test_parts_too_long_for_their_length_fields_are_refused(key: bytes, scope: str) -> None:
    with pytest.raises(ValueError):
        encode(dataclasses.replace(STORED, key=key, scope=scope))
