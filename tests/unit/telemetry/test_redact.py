"""Secrets are masked by value, in whole and in part, however they are spelt."""

from __future__ import annotations

import base64
import json
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sutlerd.telemetry.redact import MIN_SECRET_CHARS, PART_CHARS, Redactor

KEY = 'sk-ant-Zq7+x/Lm&3=vT9 w"Rk2\\pYb0Nd'
LINE = "2026-11-23T19:53:36.123Z info call outcome=ok uid=1000 model=claude-sonnet-5-5 ms=12.5"

_SECRETS = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=12, max_size=60)
_TEXTS = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=80)


def _runs(text: str, size: int) -> set[str]:
    return {text[at : at + size] for at in range(len(text) - size + 1)}


@given(secret=_SECRETS, before=_TEXTS, after=_TEXTS, data=st.data())
def test_no_part_of_eight_characters_of_a_secret_is_left(secret, before, after, data) -> None:
    start = data.draw(st.integers(0, len(secret) - PART_CHARS))
    end = data.draw(st.integers(start + PART_CHARS, len(secret)))
    masked = Redactor([secret]).text(before + secret[start:end] + after)
    assert not _runs(masked, PART_CHARS) & _runs(secret, PART_CHARS)


@given(secret=_SECRETS, before=st.binary(max_size=20), after=st.binary(max_size=20))
def test_base64_around_a_secret_does_not_hide_it(secret: str, before: bytes, after: bytes) -> None:
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        coded = encode(before + secret.encode() + after).decode()
        masked = Redactor([secret]).text(f"authorization: Basic {coded}.")
        assert "***" in masked
        for offset in range(3):
            inner = encode(b"\0" * offset + secret.encode()).decode()[4:-4]
            assert not _runs(masked, PART_CHARS) & _runs(inner, PART_CHARS)


@pytest.mark.parametrize(
    "spelling",
    [
        KEY, quote(KEY, safe=""), quote(KEY), quote_plus(KEY), json.dumps(KEY),
        quote(KEY, safe="").replace("%2B", "%2b").replace("%2F", "%2f"),
        f"Bearer {KEY}", f"https://h/v1?key={quote_plus(KEY)}&x=1", KEY[:20], KEY[-9:],
    ],
)  # fmt: skip
def test_a_key_is_masked_in_every_spelling(spelling: str) -> None:
    masked = Redactor([KEY]).text(f"said {spelling} then")
    assert masked.startswith("said ")
    assert masked.endswith(" then")
    assert "***" in masked
    for part in ("Zq7", "vT9", "Rk2", "Nd"):
        assert part not in masked


@pytest.mark.parametrize(
    "starred",
    ["sk-ant*****b0Nd", "sk-an...", "***pYb0Nd", "sk-ant…0Nd", "sk-ant••••••", "...b0Nd"],
)
def test_what_a_provider_stars_out_in_the_middle_is_masked_at_its_edges(starred: str) -> None:
    assert Redactor([KEY]).text(f"Incorrect API key: {starred}, see") == (
        "Incorrect API key: ***, see"
    )


@given(_TEXTS)
def test_a_text_without_a_secret_stays_as_it_is(text: str) -> None:
    assert Redactor(["\u2603" * 12]).text(text) == text
    assert Redactor([]).text(text) == text


def test_an_ordinary_line_and_its_dots_stay_as_they_are() -> None:
    redactor = Redactor([KEY])
    for line in (LINE, "waiting ... done", "a*** b", "x…y"):
        assert redactor.text(line) == line


def test_short_secrets_are_masked_whole_and_tiny_ones_are_none() -> None:
    redactor = Redactor(["pw45", "a" * (MIN_SECRET_CHARS - 1), ""])
    assert redactor.text("redis://:pw45@h aaa aa") == "redis://:***@h aaa aa"


def test_every_line_of_a_secret_of_many_lines_is_masked() -> None:
    pem = "-----BEGIN KEY-----\nMIIEvQIBADANBgkq\nhkiG9w0BAQEFAASC\n-----END KEY-----\n"
    masked = Redactor([pem]).text("got hkiG9w0BAQEFAASC and MIIEvQIBADANBgkq")
    assert masked == "got *** and ***"


def test_secrets_side_by_side_and_overlapping_are_masked() -> None:
    redactor = Redactor(["abcdefghijkl", "ijklmnopqrst"])
    assert redactor.text("abcdefghijklmnopqrst") == "***"
    assert redactor.text("x abcdefghijkl ijklmnopqrst y") == "x *** *** y"


def test_a_secret_of_one_repeated_character_does_not_take_for_ever() -> None:
    assert Redactor(["a" * 200]).text("a" * 20_000).strip("*") == ""
