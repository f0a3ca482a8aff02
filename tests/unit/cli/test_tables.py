"""Answers of any shape become aligned text."""

from __future__ import annotations

import time
from typing import Any

import pytest

from sutler.cli_tables import cell, dollars, duration, heading, sections, size, table


@pytest.mark.parametrize(
    ("span_s", "text"),
    [
        (0.0, "0 s"),
        (0.25, "0.25 s"),
        (59.4, "59 s"),
        (59.6, "1:00"),
        (185, "3:05"),
        (7800, "2:10:00"),
        (3 * 86400 + 4 * 3600, "3 d 4 h"),
    ],
)
def test_time_spans_read_well(span_s: float, text: str) -> None:
    assert duration(span_s) == text


@pytest.mark.parametrize(
    ("nanousd", "text"),
    [(0, "$0"), (12_000, "$0.000012"), (1_500_000_000, "$1.50"), (1, "$0.000000001")],
)
def test_no_money_is_rounded_away(nanousd: int, text: str) -> None:
    assert dollars(nanousd) == text


def test_sizes_are_in_binary_units() -> None:
    assert [size(0), size(1536), size(3 * 1024**4)] == ["0 B", "1.5 KiB", "3 TiB"]


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("any", None, "-"),
        ("available", True, "yes"),
        ("hits", 1234567, "1,234,567"),
        ("share", 0.123456, "0.1235"),
        ("size_bytes", 2048, "2 KiB"),
        ("latency_ms", 12.3456, "12.35 ms"),
        ("uptime_s", 61, "1:01"),
        ("settled_nanousd", 0, "$0"),
        ("capabilities", ["chat", "embed"], "chat, embed"),
        ("lanes", {"normal": 2}, "normal 2"),
        ("can", {"chat": True, "embed": False, "top": None, "max_texts": 2}, "chat, max texts 2"),
        ("can", {"chat": False}, "-"),
        ("pid", 29314, "29314"),
        ("capabilities", [], "-"),
        ("name", "\x1b[31mred\nline", "␛[31mred line"),
    ],
)
def test_a_value_is_shown_by_the_unit_its_name_ends_with(name: str, value: Any, text: str) -> None:
    assert cell(name, value) == text


def test_a_point_in_time_is_a_date_and_no_span() -> None:
    rows = [{"unix_s": 1795491345.6, "ended_unix_s": 1795491345, "error": "timeout"}]
    titles, row = table(rows)
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(1795491345))
    assert titles.split() == ["when", "ended", "error"]
    assert row.split("  ") == [when, when, "timeout"]


def test_a_heading_leaves_the_unit_to_the_values() -> None:
    assert [heading("size_bytes"), heading("retry_after_s"), heading("_s")] == [
        "size",
        "retry after",
        " s",
    ]


def test_a_table_is_aligned_with_numbers_to_the_right() -> None:
    rows = [{"id": "a", "calls": 5, "none": None}, {"id": "longer", "calls": 12345}]
    assert table(rows) == ["id       calls", "a            5", "longer  12,345"]


def test_an_answer_is_laid_out_by_its_shape() -> None:
    answer = {
        "version": "1",
        "waiting": [],
        "queue": {"normal": 1},
        "callers": [{"uid": 1}],
        "buckets": {"a": {"left": 1}},
        "circuits": {},
    }
    assert sections(answer) == [
        ("", ["version  1", "waiting  -"]),
        ("queue", ["normal  1"]),
        ("callers", ["uid", "  1"]),
        ("buckets", ["name  left", "a        1"]),
        ("circuits", ["none"]),
    ]
