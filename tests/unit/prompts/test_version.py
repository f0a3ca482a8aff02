"""Versions order as versions, and names find the one that is meant."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sutlerd.prompts.version import Reference, Version

TEXTS = st.tuples(
    st.lists(st.integers(0, 20) | st.integers(0, 10**9 - 1), min_size=1, max_size=4),
    st.sampled_from(["", "-dev"]),
).map(lambda made: ".".join(map(str, made[0])) + made[1])


def version(text: str) -> Version:
    found = Version.parse(text)
    assert found is not None, text
    return found


def weight(text: str) -> tuple[list[int], bool]:
    """Order by the definition: number by number, missing ones 0, development first."""
    numbers, dash, _ = text.partition("-")
    parts = [int(part) for part in numbers.split(".")]
    return parts + [0] * (4 - len(parts)), not dash


@given(TEXTS, TEXTS)
def test_versions_order_number_by_number(one: str, other: str) -> None:
    assert (version(one) < version(other)) == (weight(one) < weight(other))
    assert (version(one) == version(other)) == (weight(one) == weight(other))


@given(st.lists(TEXTS, max_size=8))
def test_the_order_does_not_depend_on_where_one_begins(texts: list[str]) -> None:
    one = sorted(map(version, texts))
    other = sorted(map(version, reversed(texts)))
    assert one == other
    assert all(a <= b for a, b in itertools.pairwise(one))


def test_ten_comes_after_nine() -> None:
    assert version("1.9") < version("1.10-dev") < version("1.10") < version("2")
    assert version("1") == version("1.0") == version("1.0.0")
    assert version("1.0").canonical == version("1.0.0").canonical == "1"


@pytest.mark.parametrize(
    "text", ["", "v1", "1.", ".1", "1..2", "01", "1.2.3.4.5", "1-beta", "1e3", "-1", "1 ", "\uff11"]
)
def test_what_is_no_version_is_not_taken_for_one(text: str) -> None:
    assert Version.parse(text) is None


@pytest.mark.parametrize(
    ("reference", "meant"),
    [
        ("a", ["1", "1.0.5", "1.2", "1.10", "2", "2.1-dev"]),
        ("a@1", ["1", "1.0.5", "1.2", "1.10"]),
        ("a@1.0", ["1", "1.0.5"]),
        ("a@1.0.0", ["1"]),
        ("a@1.2", ["1.2"]),
        ("a@1.1", []),
        ("a@2.1-dev", ["2.1-dev"]),
        ("a@2.1.0-dev", ["2.1-dev"]),
        ("a@2-dev", []),
    ],
)
def test_a_reference_means_the_versions_that_begin_so(reference: str, meant: list[str]) -> None:
    found = Reference.parse(reference)
    assert found is not None
    texts = ["1", "1.0.5", "1.2", "1.10", "2", "2.1-dev"]
    assert [text for text in texts if found.matches(version(text))] == meant


@pytest.mark.fault("X18")
@pytest.mark.parametrize(
    "text",
    [
        "../secret", "a/b", "/etc/passwd", "a@../b", "a\0", "", "@1", "a@", "a@x", "a@1@2", "ä",
        "a" * 65, ".hidden", "a b",
    ],
)  # fmt: skip
def test_what_can_be_no_name_is_not_looked_for(text: str) -> None:
    assert Reference.parse(text) is None
