"""Entries for the journal: what is in them, and what a real datagram socket gets of them."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from sutlerd.telemetry.journal import entrance, entry
from sutlerd.telemetry.logs import Log, journal_of

KEY = "sk-canary-0123456789abcdef"
LARGE = 1 << 20


class Journal:
    """Stands where systemd's journal listens, and reads as that does."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(path)
        self.socket.settimeout(20)

    def entry(self) -> list[tuple[str, str]]:
        """Give the next entry's fields, in order."""
        data, descriptors, _, _ = socket.recv_fds(self.socket, LARGE, 1)
        for descriptor in descriptors:
            assert data == b""
            with os.fdopen(descriptor, "rb") as memory:
                memory.seek(0)
                data = memory.read()
        assert data.endswith(b"\n") and b"\n\n" not in data
        pairs = [line.partition("=") for line in data.decode().splitlines()]
        assert all(equals for _, equals, _ in pairs)
        return [(name, value) for name, _, value in pairs]


@pytest.fixture
def journal() -> Iterator[Journal]:
    with tempfile.TemporaryDirectory(prefix="sj-") as folder:
        journal = Journal(f"{folder}/socket")
        yield journal
        journal.socket.close()


def log_into(journal: Journal, **options: object) -> Log:
    way = entrance(journal.path)
    assert way is not None
    return Log(way, **options)  # type: ignore[arg-type]


def test_an_event_is_an_entry_with_a_field_for_each_of_its_own(journal: Journal) -> None:
    log = log_into(journal)
    log.event("warning", "call", uid=1000, outcome="rate limited", route="a/b:c", cost_nanousd=None)
    assert journal.entry() == [
        ("MESSAGE", 'call uid=1000 outcome="rate limited" route=a/b:c cost_nanousd=-'),
        ("PRIORITY", "4"),
        ("SYSLOG_IDENTIFIER", "sutlerd"),
        ("SUTLER_EVENT", "call"),
        ("SUTLER_UID", "1000"),
        ("SUTLER_OUTCOME", "rate limited"),
        ("SUTLER_ROUTE", "a/b:c"),
        ("SUTLER_COST_NANOUSD", "-"),
    ]
    assert log.close(10) == 0


def test_no_value_and_no_name_can_begin_a_field_of_another(journal: Journal) -> None:
    log = log_into(journal)
    nasty = "x\nPRIORITY=0\r\n_UID=0\x00\u2028end"
    log.event("info", nasty, **{"a=b\n_PID": nasty, "Ä" * 100: {"k": nasty}, "n": [nasty, 1]})
    fields = journal.entry()
    names = [name for name, _ in fields]
    assert names.count("PRIORITY") == 1 and dict(fields)["PRIORITY"] == "6"
    assert all(name.startswith("SUTLER_") for name in names[3:])
    assert all(len(name) <= 64 and name.isascii() for name in names)
    log.close(10)


def test_secrets_are_masked_in_every_field(journal: Journal) -> None:
    log = log_into(journal, secrets=[KEY])
    log.event("error", KEY, said=f"no {KEY}", inner={"k": [KEY]}, **{KEY: KEY})
    assert "canary" not in str(journal.entry()).lower()
    log.close(10)


def test_an_entry_too_large_for_a_datagram_arrives_all_the_same(journal: Journal) -> None:
    log = log_into(journal)
    log.event("info", "large", **{f"f{number}": "y" * 8000 for number in range(60)})
    fields = dict(journal.entry())
    assert fields["SUTLER_F59"] == "y" * 8000
    log.close(10)


def test_entries_keep_their_order_and_what_a_journal_away_loses_is_told_when_it_is_back(
    journal: Journal,
) -> None:
    log = log_into(journal)
    log.event("info", "first")
    assert dict(journal.entry())["SUTLER_EVENT"] == "first"
    journal.socket.close()
    for number in range(5):
        log.event("info", "lost", number=number)
        assert log.flush(10)
    assert log.dropped_lines == 5
    Path(journal.path).unlink()
    back = Journal(journal.path)
    log.event("info", "again")
    told, again = dict(back.entry()), dict(back.entry())
    assert (told["SUTLER_EVENT"], told["SUTLER_LINES"]) == ("log_lines_dropped", "5")
    assert again["SUTLER_EVENT"] == "again"
    log.close(10)
    back.socket.close()


def test_the_entrance_is_used_where_stderr_is_the_journal_and_text_is_wanted(
    journal: Journal, tmp_path: Path
) -> None:
    with (tmp_path / "err").open("w") as file:
        facts = os.fstat(file.fileno())
        environ = {"JOURNAL_STREAM": f"{facts.st_dev}:{facts.st_ino}"}
        way = journal_of(file.fileno(), environ, "text", journal.path)
        assert way is not None
        way.close()
        assert journal_of(file.fileno(), environ, "json", journal.path) is None
        assert journal_of(file.fileno(), {}, "text", journal.path) is None
        assert journal_of(file.fileno(), environ, "text", str(tmp_path / "none")) is None


def test_an_entry_has_no_line_end_of_its_own() -> None:
    assert entry(3, "bug", {}, str).splitlines()[-1] == "SUTLER_EVENT=bug"
    assert not entry(3, "bug", {}, str).endswith("\n")
