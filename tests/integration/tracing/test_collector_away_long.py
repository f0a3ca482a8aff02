"""A collector that is away, hangs and errs in turn, for long: what is held stays what it was.

``SUTLER_LONG=1`` does it for ``SUTLER_LONG_S`` seconds, an hour by default, and beside a daemon
that sends no traces; its figures are printed (``-s``).
"""

from __future__ import annotations

import contextlib
import os
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median, quantiles

import pytest

from sutlerd.telemetry.span_queue import MAX_SPANS
from tests.integration.faults.rig import Rig, serving
from tests.integration.tracing.test_collector_away import closed_port
from tests.integration.tracing.test_spans import traced
from tests.support.collector import Collector, collecting

LONG = os.environ.get("SUTLER_LONG") == "1"
LONG_S = float(os.environ.get("SUTLER_LONG_S", "3600"))
#: Answers from the cache in one turn, each a span; with them the queue is full in the first.
HITS, FRESH = MAX_SPANS + 1000, 20
TURN_S = 30.0
#: What an allocator may keep of other work; a queue without a bound would hold this in a turn.
GROWTH_BYTES = 24 * 2**20
#: Tables that have a bound fill for a while: connections' paths, rows that wait for the disk.
LATE_GROWTH_KIB = 8 * 1024


class Spans:
    """Makes spans, and knows how many there are."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.made = 0
        self._fresh = 0
        self._counted_before = sum(self.counts().values())

    def counts(self) -> dict[str, int]:
        counts: dict[str, int] = self.rig.status()["tracing"]
        return counts

    def make(self, *, hits: int, fresh: int) -> None:
        with self.rig.client() as client:
            client.result("complete", prompt="known", temperature=0)  # known after the first turn
            self.made += 2 if not self.made else 1
            for begin in range(0, hits, 500):
                number = min(500, hits - begin)
                ids = [
                    client.send("complete", prompt="known", temperature=0) for _ in range(number)
                ]
                for each in ids:
                    client.final(each)
            self.made += hits
            for _ in range(fresh):
                self._fresh += 1
                client.result("complete", prompt=f"new {self._fresh}", cache="off")
            self.made += 2 * fresh
        self.rig.provider.requests.clear()

    def are_all_accounted_for(self) -> bool:
        """Compare, more than once: a batch may be on its way from one count to another."""
        until_s = time.monotonic() + 20
        while sum(self.counts().values()) - self._counted_before != self.made:
            if time.monotonic() > until_s:
                return False
            time.sleep(0.05)
        return True


@contextlib.contextmanager
def _in_state(collector: Collector, state: str) -> Iterator[None]:
    """``down``, ``hangs``, ``errs`` or ``up``."""
    if state == "down":
        yield
        return
    free = threading.Event()
    collector.before = (lambda: free.wait(60)) if state == "hangs" else (lambda: None)
    collector.status = 503 if state == "errs" else 200
    with collecting(collector.port, collector):
        try:
            yield
        finally:
            free.set()
            collector.status = 200
            for kept in (collector.bodies, collector.headers, collector.paths, collector.spans):
                kept.clear()


@pytest.mark.fault("O12")
@pytest.mark.timeout(LONG_S + 600 if LONG else 120)
def test_what_waits_for_a_collector_is_bounded_counted_and_sent_in_the_end(folder: Path) -> None:
    collector = Collector()
    collector.port = closed_port()
    with serving(folder, llm=traced(collector, hit_sample_pct=100)) as rig:
        spans = Spans(rig)
        spans.make(hits=HITS, fresh=FRESH)
        full_bytes = rig.rss_bytes()
        assert spans.counts()["waiting"] == MAX_SPANS and spans.counts()["dropped"] > 0
        for state in ("hangs", "errs"):
            with _in_state(collector, state):
                spans.make(hits=HITS, fresh=FRESH)
                assert spans.counts()["waiting"] <= MAX_SPANS
                assert spans.are_all_accounted_for(), (spans.made, spans.counts())
        assert rig.rss_bytes() - full_bytes < GROWTH_BYTES
        with _in_state(collector, "up"):
            until_s = time.monotonic() + 90
            while spans.counts()["waiting"]:
                assert time.monotonic() < until_s, spans.counts()
                time.sleep(0.05)
        assert spans.are_all_accounted_for(), (spans.made, spans.counts())
        assert spans.counts()["sent"] >= MAX_SPANS


def held(rig: Rig) -> tuple[int, int]:
    """Give the daemon's own memory and, in it besides, pages of files, both in KiB."""
    said = Path(f"/proc/{rig.daemon.process.pid}/status").read_text()
    own, files = (re.search(rf"{name}:\s+(\d+)", said) for name in ("RssAnon", "RssFile"))
    assert own is not None and files is not None
    return int(own[1]), int(files[1])


def _timed(rig: Rig, plain: Rig, took_s: dict[str, list[float]], kept: int) -> int:
    """Time ten uncached calls of each, in turns; give how many there are of each by now."""
    with rig.client() as traced_client, plain.client() as plain_client:
        clients = {"traced": traced_client, "plain": plain_client}
        for number in range(10):
            for who, client in clients.items():
                begun_s = time.perf_counter()
                client.result("complete", prompt=f"timed {kept + number}", cache="off")
                took_s[who].append(time.perf_counter() - begun_s)
    plain.provider.requests.clear()
    return kept + 10


if LONG:

    @pytest.mark.fault("O12")
    @pytest.mark.timeout(LONG_S + 600)
    def test_an_hour_of_trouble_with_the_collector_costs_no_memory_and_no_call_anything(
        folder: Path,
    ) -> None:
        collector = Collector()
        collector.port = closed_port()
        end_s, kept, turn = time.monotonic() + LONG_S, 0, 0
        held_kib: list[tuple[int, int]] = []
        took_s: dict[str, list[float]] = {"traced": [], "plain": []}
        with (
            serving(folder / "t", llm=traced(collector, hit_sample_pct=100)) as rig,
            serving(folder / "p") as plain,
        ):
            spans = Spans(rig)
            while time.monotonic() < end_s:
                state = ("down", "hangs", "down", "errs", "down", "up")[turn % 6]
                turn_end_s = time.monotonic() + TURN_S
                with _in_state(collector, state):
                    while time.monotonic() < turn_end_s:
                        spans.make(hits=1000, fresh=5)
                        kept = _timed(rig, plain, took_s, kept)
                        spans.made += 2 * 10
                        time.sleep(0.5)
                turn += 1
                held_kib.append(held(rig))
                assert spans.are_all_accounted_for(), (spans.made, spans.counts())
            middle = {who: median(times) for who, times in took_s.items()}
            slow = {who: quantiles(times, n=100)[98] for who, times in took_s.items()}
            print(
                f"\n{turn} turns, {spans.made} spans, {spans.counts()}; "
                f"held (own, files) after 3, 6, … turns: {held_kib[2::3]} KiB; "
                f"an uncached call, p50: {middle}, p99: {slow} s, of {kept} each"
            )
            assert turn > 6, "too short to tell growth from what fills up at first"
            early, late = held_kib[5], held_kib[-1]
            # Pages of files grow with the ledger's, and are the kernel's to take back.
            assert late[0] - early[0] < LATE_GROWTH_KIB
            assert middle["traced"] < 1.5 * middle["plain"]
