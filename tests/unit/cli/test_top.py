"""What `sutler top` makes of the daemon's answers, and how it fits a window."""

from __future__ import annotations

import io
import random
import threading
from typing import Any

import pytest
from rich.console import Console

from sutler.top_layout import UNICODE, cut, fit, glyphs_for, page, wanted, width_of
from sutler.top_rich import drawn
from sutler.top_sight import Bar, Row, Section, Seen, Sight, away, sight
from sutler.top_watch import Watch

WINDOWS = [(1, 1), (20, 3), (40, 10), (80, 24), (109, 15), (110, 16), (140, 50), (300, 100)]


def seen(at_s: float = 10.0, **status: Any) -> Seen:
    whole = {"state": "running", "instance": "one", "uptime_s": 5, "version": "9", **status}
    return Seen(whole, {"waiting": []}, {"budgets": [], "ledger": "open"}, at_s, {1000: "ada"})


def budget(**more: Any) -> dict[str, Any]:
    row = {"name": "daily", "scope": "node", "limit_nanousd": 5_000_000_000}
    row |= {"settled_nanousd": 0, "pending_nanousd": 0, "resets_at": None, "ends_at": None}
    return row | more


def section(shown: Sight, title: str) -> Section:
    return next(each for each in shown.sections if each.title.startswith(title))


def lines_of(shown: Sight, width: int = 100, height: int = 0, encoding: str = "utf-8") -> list[str]:
    return [
        "".join(text for text, _ in line)
        for line in page(shown, width, height, glyphs_for(encoding))
    ]


def test_a_budget_says_what_is_spent_held_and_when_it_ends() -> None:
    row = budget(settled_nanousd=4_100_000_000, pending_nanousd=400_000_000)
    row["ends_at"] = "2020-01-02T03:04:05+00:00"
    look = seen()._replace(budget={"budgets": [row], "ledger": "broken", "unknown": [{}]})
    shown = section(sight(look, None), "budgets")
    assert shown.bars[0].share == pytest.approx(0.82)
    assert shown.bars[0].held == pytest.approx(0.08)
    assert shown.bars[0].said.startswith("$4.10 of $5.00, $0.40 held, empty at 0")
    assert [note.tone for note in shown.notes] == ["bad", "warn"]
    assert section(sight(seen(), None), "budgets").quiet
    none = budget(limit_nanousd=0)
    assert section(sight(seen()._replace(budget={"budgets": [none]}), None), "budgets").bars


def test_buckets_are_bars_of_what_is_left_and_a_debt_is_said() -> None:
    buckets = {
        "requests": {"level": 5.0, "capacity": 10.0, "per_minute": 10.0},
        "tokens": {"level": -30.0, "capacity": 100.0, "per_minute": 100.0},
        "none": {"level": 0.0, "capacity": 0.0, "per_minute": 0.0},
    }
    look = seen(buckets=[{"boundary": "groq", "closed_s": 12.0, "buckets": buckets}])
    shown = section(sight(look, None), "limits")
    assert [bar.share for bar in shown.bars] == [0.5, 0.0, 0.0]
    assert shown.bars[0].said == "5 of 10 left, 10/min"
    assert shown.bars[1].said == "owes 30, 100/min"
    assert "groq is closed for 12 s" in shown.notes[0].text


def test_hit_rates_are_since_the_last_look_and_in_all() -> None:
    first = seen(10.0, answers={"cached": 10, "coalesced": 0, "fresh": 90})
    then = seen(12.0, answers={"cached": 16, "coalesced": 2, "fresh": 92})
    bars = section(sight(then, first), "answers").bars
    assert [bar.said for bar in bars] == ["80 % of 5 answers/s", "16 % of 110 answers"]
    assert [bars[0].share, bars[0].held] == pytest.approx([0.6, 0.2])
    restarted = seen(13.0, instance="two", answers={"cached": 0, "coalesced": 0, "fresh": 0})
    bars = section(sight(restarted, then), "answers").bars
    assert [(bar.label, bar.said) for bar in bars] == [("in all", "no answers")]


def test_who_waits_is_told_by_lane_with_the_reasons_and_by_caller() -> None:
    waiting = [
        {"lane": "normal", "waited_s": at, "boundary": "groq", "bucket": "turn", "uid": 1000}
        for at in range(3)
    ]
    waiting.append({**waiting[0], "lane": "background", "bucket": "requests", "uid": 7})
    callers = [
        {"uid": 7, "job": None, "connections": 1, "calls_open": 1},
        {"uid": 1000, "job": None, "connections": 3, "calls_open": 3},
        {"uid": -1, "job": None, "connections": 1, "calls_open": 0},
    ]
    look = seen(callers=callers)._replace(queue={"waiting": waiting})
    whole = sight(look, None)
    assert [row.cells for row in section(whole, "queue").rows] == [
        ("background", "1", "0 s", "1 groq requests"),
        ("normal", "3", "2 s", "3 groq turn"),
    ]
    assert [row.cells for row in section(whole, "callers (3)").rows] == [
        ("ada", "", "3", "3", "3"),
        ("7", "", "1", "1", "1"),
        ("not yet known", "", "1", "0", "0"),
    ]


def test_a_provider_that_rests_or_is_off_says_why() -> None:
    circuits = [
        {"provider": "a", "model": None, "state": "open", "probe_in_s": 4.0, "why": "503s"},
        {"provider": "b", "model": "m", "state": "half_open", "probe_in_s": None, "why": "slow"},
        {"provider": "b", "model": None, "state": "closed", "probe_in_s": None, "why": None},
    ]
    providers = {
        "a": {"in_flight": 1, "attempts": 2000, "failures": 3, "last_success_age_s": None},
        "b": {"last_failure": {"kind": "x", "message": "HTTP 400", "age_s": 65.2}},
        "c": {"state": "off", "why": "no key"},
    }
    rows = section(sight(seen(circuits=circuits, providers=providers), None), "providers").rows
    assert [(row.cells[0], row.cells[1], row.cells[-1], row.tone) for row in rows] == [
        ("a", "open, tried in 4 s", "503s", "bad"),
        ("b", "well", "1:05 ago: HTTP 400", "plain"),
        ("  m", "half open", "slow", "bad"),
        ("c", "off", "no key", "dim"),
    ]


def test_an_answer_with_nothing_in_it_is_a_screen_too() -> None:
    bare = Seen({}, {}, {}, 0.0, {})
    assert lines_of(sight(bare, bare))[0].startswith("? · 0 calls")
    old = away(sight(bare, None), "gone", 3.0)
    assert old.headline.text == "the daemon is away for 3 s, waiting for it: gone"


def crowded() -> Sight:
    """A screen with more in it than any window holds, and text in it that means harm."""
    rng = random.Random(8)
    names = [
        "plain",
        "日本語の名前です",
        "e\u0301" * 9,
        "\x1b[2J\x07",
        "a\nb\tc",
        "\u202eright",
        "x" * 300,
    ]
    bars = tuple(
        Bar(rng.choice(names), rng.random(), rng.random(), rng.choice(names), "good", rng.random())
        for _ in range(40)
    )
    rows = tuple(Row(tuple(rng.choice(names) for _ in range(5)), "bad") for _ in range(200))
    full = Section("t" * 50, bars=bars)
    table = Section("callers", head=("a", ">b", "c", "d", "e"), rows=rows)
    return Sight(sight(seen(), None).headline, (full, table, full, table))


@pytest.mark.parametrize(("width", "height"), WINDOWS)
@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1", "no-such"])
def test_no_line_is_wider_and_no_screen_higher_than_the_window(
    width: int, height: int, encoding: str
) -> None:
    for shown in (crowded(), sight(seen(), None)):
        lines = lines_of(shown, width, height, encoding)
        assert len(lines) <= height
        assert max(width_of(line) for line in lines) <= width
        assert all(line.isprintable() for line in lines)
        if encoding != "utf-8":
            "".join(lines).encode("ascii" if encoding == "no-such" else encoding)


@pytest.mark.parametrize(("width", "height"), WINDOWS)
def test_rich_fills_the_same_windows_and_obeys_no_markup(width: int, height: int) -> None:
    for shown in (crowded(), sight(seen(version="[red]x[/red]"), None)):
        out = io.StringIO()
        console = Console(file=out, width=width, height=height, color_system=None)
        console.print(drawn(shown, width, height, UNICODE))
        lines = out.getvalue().splitlines()
        assert len(lines) <= height
        assert max(width_of(line) for line in lines) <= width
        assert all(line.isprintable() for line in lines)
    if width >= 80:
        assert "[red]x[/red]" in lines[0]


def test_what_is_cut_is_counted_and_the_neediest_bars_are_kept() -> None:
    bars = tuple(Bar(f"bucket {at}", at / 9, 0.0, "", "good", 1 - at / 9) for at in range(10))
    rows = tuple(Row((f"caller {at}",)) for at in range(200))
    shown = Sight(
        sight(seen(), None).headline,
        (Section("limits", bars=bars), Section("callers", head=("who",), rows=rows)),
    )
    lines = lines_of(shown, 40, 10)
    assert len(lines) == 10
    assert [line.split("  ")[0] for line in lines[2:5]] == ["bucket 0", "bucket 1", "… 8 more"]
    assert lines[-1] == "… 198 more"


def test_what_says_something_goes_before_what_says_nothing() -> None:
    quiet, loud = (
        Section("quiet", notes=((sight(seen(), None).headline),), quiet=True),
        Section("loud", head=("a",), rows=(Row(("b",)),)),
    )
    assert fit([quiet, loud], 3, 1) == [0, 2]
    assert fit([quiet, loud], 5, 1) == [1, 2]
    assert wanted(loud) == 2


def test_text_is_cut_by_cells_not_by_characters() -> None:
    assert cut("日本語", 5, "…") == "日本…"
    assert cut("日本語", 4, "…") == "日…"
    assert cut("abc", 3, "…") == "abc"
    assert cut("abc", 1, "…") == "…"
    assert cut("abc", 0, "…") == ""


class _Odd:
    """A client whose daemon speaks of itself in a shape of its own after the first time."""

    def __init__(self) -> None:
        self.status: Any = {"state": "running"}

    def call(self, method: str, parameters: dict[str, Any]) -> Any:
        return self.status if method == "status" else {}


def test_a_newer_daemons_answer_is_an_error_and_no_end_of_the_watch() -> None:
    client = _Odd()
    watch = Watch(client, 0.01)  # type: ignore[arg-type]
    assert watch.look().headline.text.startswith("running")
    woken = threading.Event()
    client.status = {"callers": [{"uid": 1}], "version": "99"}
    watch.start(woken.set)
    assert woken.wait(30)
    assert "cannot read what sutlerd 99 says" in watch.screen().headline.text
    client.status = {"state": "draining"}
    while watch.is_away:
        assert woken.wait(30)
        woken.clear()
    assert watch.screen().headline.text.startswith("draining")
    watch.stop()
