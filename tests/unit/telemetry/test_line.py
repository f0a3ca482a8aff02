"""One event is one line, whatever is in it."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sutlerd.telemetry.line import MAX_VALUE_CHARS, json_line, text_line, timestamp

WHEN = "2026-11-23T00:00:00.000Z"


class Opaque:
    def __repr__(self) -> str:
        raise AssertionError("nobody asks a stranger to print itself")


class Unprintable(Exception):
    def __str__(self) -> str:
        raise TypeError


_ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.binary()
    | st.text(st.characters(categories=["Cc", "Cs", "Cf", "Zl", "Zp"]))
    | st.decimals()
    | st.builds(Opaque)
    | st.builds(ValueError, st.text())
    | st.builds(pow, st.just(10), st.just(6000)),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner) | st.tuples(inner)
    ),
    max_leaves=10,
)


@given(st.text(), st.dictionaries(st.text(max_size=10), _ANYTHING, max_size=4))
def test_any_fields_make_one_printable_line(name: str, fields: dict[str, Any]) -> None:
    for line in (text_line(WHEN, "info", name, fields), json_line(WHEN, "info", name, fields)):
        assert line.splitlines() in ([line], [])
        assert "\x1b" not in line
        line.encode()
    record = json.loads(json_line(WHEN, "info", name, fields))
    assert (record["time"], record["level"]) == (WHEN, "info")


def test_text_is_readable_and_unambiguous() -> None:
    fields = {
        "uid": 1000, "route": "a/b:c", "ms": 12.5, "cached": False, "who": None, "empty": "",
        "words": 'two "words"', "path": Path("/x"), "usd": Decimal("1.50"), "eq": "a=b",
        "raw": b"\xff", "list": [1, "x"],
    }  # fmt: skip
    assert text_line(WHEN, "info", "call", fields) == (
        WHEN + ' info    call uid=1000 route=a/b:c ms=12.5 cached=false who=- empty="" '
        r'words="two \"words\"" path=/x usd=1.50 eq="a=b" raw="\\xff" list="[1,\"x\"]"'
    )


def test_an_escape_sequence_or_a_line_break_cannot_get_out() -> None:
    nasty = "a\nb\r\x1b[2J\x9b\u2028\u202e\ud800"
    text = text_line(WHEN, "info", "n", {"v": nasty})
    assert text.endswith(r'v="a\nb\r\x1b[2J\x9b\u2028\u202e\\ud800"')
    assert json.loads(json_line(WHEN, "info", "n", {"v": nasty}))["v"] == (
        "a\nb\r\x1b[2J\x9b\u2028\u202e\\ud800"
    )


def test_values_are_cut_and_strangers_are_named_by_their_kind_only() -> None:
    record = json.loads(
        json_line(
            WHEN,
            "error",
            "n",
            {
                "long": "x" * (MAX_VALUE_CHARS + 5),
                "many": list(range(1000)),
                "deep": [[[[[[1]]]]]],
                "stranger": Opaque(),
                "error": ValueError("why"),
                "mute": Unprintable(),
                "time": "mine",
                "huge": 2**70,
            },
        )
    )
    assert record["long"].endswith("…(+5)")
    assert len(record["many"]) == 64
    assert record["deep"] == [[[["<list>"]]]]
    assert record["stranger"] == "<Opaque>"
    assert record["error"] == "ValueError: why"
    assert record["mute"] == "Unprintable"
    assert record["time_"] == "mine"
    assert record["huge"] == str(2**70)


@pytest.mark.parametrize(
    ("unix_s", "written"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (1795463616.1239, "2026-11-23T19:53:36.123Z"),
        (float("nan"), "1970-01-01T00:00:00.000Z"),
        (1e300, "1970-01-01T00:00:00.000Z"),
    ],
)
def test_times_are_rfc_3339_in_utc_with_milliseconds(unix_s: float, written: str) -> None:
    assert timestamp(unix_s) == written
