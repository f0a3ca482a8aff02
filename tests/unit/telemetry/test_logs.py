"""The log as its callers see it: levels, formats, masking, sums, and never in the way."""

from __future__ import annotations

import io
import json
import os
import threading

import pytest

from sutlerd.telemetry.logs import Log, is_journal

KEY = "sk-canary-0123456789abcdef"


class Said:
    """A stream whose lines can be read while and after the log writes it."""

    def __init__(self) -> None:
        self.stream = io.StringIO()

    def lines(self, log: Log) -> list[str]:
        assert log.flush(10)
        return self.stream.getvalue().splitlines()

    def records(self, log: Log) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.lines(log)]


@pytest.fixture
def said() -> Said:
    return Said()


def test_an_event_is_a_line_with_time_level_name_and_fields(said: Said) -> None:
    log = Log(said.stream, unix_s=lambda: 0.0)
    log.event("info", "ready", socket="/run/s.sock", ms=12)
    assert said.lines(log) == ["1970-01-01T00:00:00.000Z info    ready socket=/run/s.sock ms=12"]
    assert log.close() == 0


def test_json_lines_parse_and_hold_the_same(said: Said) -> None:
    log = Log(said.stream, log_format="json", unix_s=lambda: 0.0)
    log.event("error", "bug", what="a\nb")
    assert said.records(log) == [
        {"time": "1970-01-01T00:00:00.000Z", "level": "error", "event": "bug", "what": "a\nb"}
    ]


def test_levels_below_the_set_one_are_left_out(said: Said) -> None:
    log = Log(said.stream, level="warning", log_format="json")
    for level in ("debug", "info", "warning", "error", "shout"):
        log.event(level, level)
    log.sum("hits")
    log.set_level("debug")
    log.event("debug", "now")
    assert [record["event"] for record in said.records(log)] == [
        "warning", "error", "shout", "now",
    ]  # fmt: skip


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_a_secret_is_masked_wherever_it_stands(said: Said, log_format) -> None:
    log = Log(said.stream, log_format=log_format, level="debug", secrets=[KEY])
    log.secrets(["other-canary-99"])
    log.event("debug", KEY, field=KEY, inner={"k": [KEY]}, error=ValueError(f"no {KEY}"))
    log.event("debug", "x", **{KEY: 1, "part": KEY[:-9], "other": "other-canary-99"})
    log.sum("hits", KEY)
    log.close(10)
    assert "canary" not in said.stream.getvalue()
    assert log.redactor.text(KEY) == "***"


def test_a_secret_of_digits_does_not_break_json(said: Said) -> None:
    log = Log(said.stream, log_format="json", secrets=["1234567890"])
    log.event("info", "n", number=1234567890)
    (record,) = said.records(log)
    assert record["event"] == "masked"
    assert "1234567890" not in str(record)


def test_the_journal_gets_priorities_and_json_does_not(said: Said) -> None:
    log = Log(said.stream, journal=True)
    log.event("warning", "careful")
    assert said.lines(log)[0].startswith("<4>")
    other = Said()
    plain = Log(other.stream, journal=True, log_format="json")
    plain.event("warning", "careful")
    assert other.records(plain)[0]["event"] == "careful"


def test_the_journal_is_known_by_device_and_inode() -> None:
    descriptor = os.open("/dev/null", os.O_WRONLY)
    facts = os.fstat(descriptor)
    stream = f"{facts.st_dev}:{facts.st_ino}"
    assert is_journal(descriptor, {"JOURNAL_STREAM": stream})
    assert not is_journal(descriptor, {"JOURNAL_STREAM": "1:1"})
    assert not is_journal(descriptor, {})
    os.close(descriptor)
    assert not is_journal(descriptor, {"JOURNAL_STREAM": stream})


def test_hits_are_told_in_sums(said: Said) -> None:
    log = Log(said.stream, log_format="json")
    for uid in ("1000", "1001", "1000"):
        log.sum("cache_hits", uid)
    log.sum("plain", count=5)
    log.close(10)
    told = {record["event"]: record for record in map(json.loads, said.stream.getvalue().split())}
    assert told["cache_hits"]["count"] == 3
    assert told["cache_hits"]["by"] == {"1000": 2, "1001": 1}
    assert told["plain"]["count"] == 5
    assert "by" not in told["plain"]


def test_sums_have_a_bounded_number_of_keys(said: Said) -> None:
    log = Log(said.stream, log_format="json")
    for number in range(1000):
        log.sum("hits", str(number))
    log.close(10)
    counts = [json.loads(line) for line in said.stream.getvalue().splitlines()]
    assert sum(record["count"] for record in counts) == 1000
    assert all(len(record["by"]) <= 257 for record in counts)


def test_many_threads_lose_and_mix_nothing(said: Said) -> None:
    log = Log(said.stream, log_format="json")

    def work(number: int) -> None:
        for step in range(200):
            log.event("info", "step", thread=number, step=step)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seen = {(record["thread"], record["step"]) for record in said.records(log)}
    assert len(seen) == 1600


@pytest.mark.fault("O14")
def test_a_closed_stream_is_counted_and_never_raises(said: Said) -> None:
    log = Log(said.stream)
    said.stream.close()
    log.event("info", "lost")
    assert log.flush(10)
    assert log.dropped_lines == 1
    assert log.close(10) == 1


def test_events_after_the_end_are_dropped(said: Said) -> None:
    log = Log(said.stream)
    log.event("info", "before")
    assert log.close(10) == 0
    log.event("info", "after")
    log.sum("after")
    assert log.dropped_lines == 1
    assert "after" not in said.stream.getvalue()


def test_a_log_that_never_said_anything_made_no_thread(said: Said) -> None:
    before = threading.active_count()
    log = Log(said.stream)
    assert log.flush(0)
    assert log.close(0) == 0
    assert threading.active_count() == before
