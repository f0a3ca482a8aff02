"""A collector that is down, hangs, or comes back: no call hears of it."""

from __future__ import annotations

import socket
import threading
import time
from pathlib import Path

import pytest

from tests.integration.faults.rig import serving
from tests.integration.tracing.test_spans import TRACE, TRACEPARENT, of_kind, traced
from tests.support.collector import Collector, collecting

CALLS = 50


def closed_port() -> int:
    """Give a port on which nobody listens just now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
    return port


@pytest.mark.fault("O12")
def test_a_collector_that_is_down_is_told_once_and_given_what_waited_when_it_is_back(
    folder: Path,
) -> None:
    collector = Collector()
    collector.port = closed_port()
    with serving(folder, llm=traced(collector)) as rig:
        for number in range(CALLS):
            said = {"traceparent": TRACEPARENT}
            rig.daemon.result("complete", prompt=f"away {number}", metadata=said)
        until_s = time.monotonic() + 20
        while "does not take spans" not in rig.daemon.log():
            assert time.monotonic() < until_s, rig.daemon.log()
            time.sleep(0.05)
        with collecting(collector.port, collector):
            ours = lambda: [s for s in of_kind(collector.spans, "SERVER") if s.trace_id == TRACE]  # noqa: E731
            collector.wait_until(lambda: len(ours()) >= CALLS, 60)
            assert len({span.span_id for span in ours()}) == CALLS
        assert rig.daemon.log().count("does not take spans") == 1
        assert rig.daemon.log().count("takes spans again") == 1


@pytest.mark.fault("O12")
def test_a_collector_that_hangs_holds_up_neither_calls_nor_the_stop(folder: Path) -> None:
    hangs = threading.Event()
    with collecting() as collector:
        collector.before = lambda: hangs.wait(60)
        try:
            with serving(folder, llm=traced(collector)) as rig:
                for number in range(CALLS):
                    rig.daemon.result("complete", prompt=f"hanging {number}")
                assert rig.status()["tracing"]["waiting"] > 0
                begun_s = time.monotonic()
                assert rig.daemon.stop() == 0
                # Far above the two seconds for the collector, far below what it would take.
                assert time.monotonic() - begun_s < 8
                rig.daemon.start()
        finally:
            hangs.set()
