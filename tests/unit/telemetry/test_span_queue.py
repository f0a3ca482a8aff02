"""The queue of spans in front of a collector that is slow, refuses, or is away."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import pytest

from sutlerd.telemetry.span_queue import Sent, SpanQueue
from sutlerd.telemetry.spans import Span, SpanKind
from sutlerd.telemetry.trace_context import read_traceparent
from tests.support.event_list import EventList

WAIT_S = 30.0


def span(number: int, text: str = "") -> Span:
    return Span(
        name=f"chat {number}",
        kind=SpanKind.SERVER,
        trace_id=bytes(15) + b"\1",
        span_id=number.to_bytes(8, "big"),
        parent_id=b"",
        start_unix_ns=1,
        end_unix_ns=2,
        attributes={"text": text},
    )


class Courier:
    """Does what the test says: ``answer`` of each batch, after ``may_go``."""

    def __init__(self, answer: Callable[[], Sent]) -> None:
        self.answer = answer
        self.may_go = threading.Event()
        self.brought: list[str] = []
        self.tries = 0
        self.news = threading.Condition()

    def bring(self, spans: Sequence[Span], *, limit_s: float) -> Sent:
        assert self.may_go.wait(WAIT_S)
        sent = self.answer()
        with self.news:
            self.tries += 1
            if not sent.trouble:
                self.brought += [each.name for each in spans]
            self.news.notify_all()
        return sent

    def wait_until(self, holds: Callable[[], bool]) -> None:
        with self.news:
            assert self.news.wait_for(holds, WAIT_S)


def queue_of(courier: Courier, log: EventList, **options: float) -> SpanQueue:
    settings: dict[str, float] = {"gathered_s": 0.0, "pause_s": 0.005, **options}
    return SpanQueue(lambda: courier, log, **settings)  # type: ignore[arg-type]


@pytest.mark.fault("O12")
def test_what_does_not_fit_is_dropped_and_counted_and_nothing_grows() -> None:
    courier, log = Courier(Sent), EventList()
    queue = queue_of(courier, log, max_spans=100)
    for number in range(10_000):
        queue.put([span(number)])
        assert queue.waiting <= 100
    assert queue.dropped >= 9_800
    courier.may_go.set()
    courier.wait_until(lambda: len(courier.brought) + queue.dropped == 10_000)
    queue.close()
    assert queue.sent + queue.dropped == 10_000 and not queue.waiting


@pytest.mark.fault("O12")
def test_long_texts_are_bounded_by_their_bytes() -> None:
    courier, log = Courier(Sent), EventList()
    queue = queue_of(courier, log, max_bytes=100_000)
    for number in range(50):
        queue.put([span(number, "x" * 20_000)])
    assert queue.waiting <= 1 + 100_000 // 20_000
    courier.may_go.set()
    queue.close()


@pytest.mark.fault("O12")
def test_a_collector_that_comes_back_is_given_what_waited_and_the_log_is_told_twice() -> None:
    away = threading.Event()
    away.set()
    log = EventList()
    courier = Courier(lambda: Sent(trouble="refused", again=True) if away.is_set() else Sent())
    courier.may_go.set()
    queue = queue_of(courier, log)
    queue.put([span(1)])
    courier.wait_until(lambda: courier.tries >= 4)
    queue.put([span(2)])
    away.clear()
    courier.wait_until(lambda: len(courier.brought) == 2)
    queue.close()
    assert courier.brought == ["chat 1", "chat 2"] and queue.dropped == 0
    said = [fields["said"] for _, name, fields in log.events if name == "tracing"]
    assert said == ["the collector does not take spans: refused", "the collector takes spans again"]


def test_what_a_collector_will_never_take_is_not_brought_twice() -> None:
    log = EventList()
    courier = Courier(lambda: Sent(trouble="it answered 400"))
    courier.may_go.set()
    queue = queue_of(courier, log)
    for number in range(3):
        queue.put([span(number)])
        courier.wait_until(lambda number=number: courier.tries > number)  # type: ignore[misc]
    queue.close()
    assert (courier.tries, queue.dropped, queue.sent) == (3, 3, 0)
    assert len(log.events) == 1


def test_a_queue_that_is_closed_takes_nothing_more() -> None:
    courier = Courier(Sent)
    courier.may_go.set()
    queue = queue_of(courier, EventList())
    queue.put([span(1)])
    queue.close()
    queue.put([span(2)])
    assert courier.brought == ["chat 1"] and queue.counts() == {
        "sent": 1,
        "dropped": 1,
        "waiting": 0,
    }


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", True),
        ("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what-the-future-brings", True),
        ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more", False),
        ("ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", False),
        ("00-00000000000000000000000000000000-00f067aa0ba902b7-01", False),
        ("00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01", False),
        ("00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01", False),
        ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\n", False),
        ("", False),
        (None, False),
        (7, False),
    ],
)
def test_a_traceparent_is_read_as_the_standard_says(text: object, is_one: bool) -> None:
    assert (read_traceparent(text) is not None) is is_one
