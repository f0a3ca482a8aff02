"""Alerts: once for each mark, limit and period, whatever is restarted, and nobody waits."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest

from sutlerd.domain.errors import BudgetExceeded
from sutlerd.ledger.webhook import MAX_WAITING, Webhook
from tests.support.event_list import EventList
from tests.support.kept_accounts import Kept, keep_accounts_in
from tests.support.ledgers import reserved, spend
from tests.support.virtual_clock import VirtualClock

DAY_S = 86_400.0
SECRET = "/services/T000/B000/very-secret"
USD = 10**9


class Hook:
    """A server that keeps what is posted to it. ``answer`` is the status; 0 hangs."""

    def __init__(self) -> None:
        self.answer = 200
        self.posted: list[dict[str, Any]] = []
        self.elsewhere = 0
        self.release = Event()
        self.address = ""


@contextmanager
def listening() -> Iterator[Hook]:
    hook = Hook()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if self.path != SECRET:
                hook.elsewhere += 1
            hook.posted.append(body)
            if not hook.answer:
                hook.release.wait(30)
                return
            self.send_response(hook.answer)
            if hook.answer == 302:
                self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    hook.address = f"http://127.0.0.1:{server.server_port}{SECRET}"
    try:
        yield hook
    finally:
        hook.release.set()
        server.shutdown()
        server.server_close()


async def spent(kept: Kept, cost_nanousd: int) -> None:
    reservation = reserved(kept.ledger.try_reserve(spend(cost_nanousd)))
    await reservation.on_disk()
    reservation.settle(cost_nanousd)


def told(kept: Kept) -> list[tuple[object, object]]:
    kept.treasury.alarm.look()
    return [(event["budget"], event["mark_pct"]) for event in kept.log.named("budget_alert")]


@pytest.mark.fault("O11")
async def test_each_mark_is_told_once_a_day_across_restarts(tmp_path: Path) -> None:
    clock = VirtualClock()
    budget: dict[str, Any] = {"daily_limit_usd": 1, "alert_threshold_pct": 80}
    async with keep_accounts_in(tmp_path, clock, **budget) as kept:
        await spent(kept, USD * 79 // 100)
        assert told(kept) == []
        await spent(kept, USD // 100)
        assert told(kept) == [("daily", 80.0)]
        await spent(kept, USD // 100)
        assert told(kept) == [("daily", 80.0)]
    async with keep_accounts_in(tmp_path, clock, **budget) as kept:
        assert told(kept) == []
        await spent(kept, USD * 19 // 100)
        assert told(kept) == [("daily", 100.0)]
    async with keep_accounts_in(tmp_path, clock, **budget) as kept:
        assert told(kept) == []
    async with keep_accounts_in(
        tmp_path, clock, **{**budget, "daily_limit_usd": Decimal("1.2")}
    ) as kept:
        assert told(kept) == [("daily", 80.0)]
        clock.advance(DAY_S)
        assert told(kept) == [("daily", 80.0)]
        await spent(kept, USD)
        assert told(kept) == [("daily", 80.0), ("daily", 80.0)]


async def test_a_budget_that_refuses_calls_near_its_end_is_as_good_as_spent(
    tmp_path: Path,
) -> None:
    async with keep_accounts_in(tmp_path, VirtualClock(), daily_limit_usd=1) as kept:
        await spent(kept, USD // 2)
        assert isinstance(kept.ledger.try_reserve(spend(USD)), BudgetExceeded)
        assert told(kept) == []
        await spent(kept, USD * 4 // 10)
        assert told(kept) == [("daily", 80.0)]
        assert isinstance(kept.ledger.try_reserve(spend(USD // 2)), BudgetExceeded)
        assert told(kept) == [("daily", 80.0), ("daily", 100.0)]
        assert "no money left" in str(kept.log.named("budget_alert")[-1]["said"])


async def test_every_budget_has_marks_of_its_own(tmp_path: Path) -> None:
    rules = [{"per": "uid", "limit_usd": 1, "name": "each"}]
    async with keep_accounts_in(tmp_path, VirtualClock(), daily_limit_usd=10, rules=rules) as kept:
        await spent(kept, USD)
        assert told(kept) == [("each", 100.0)]
        assert kept.treasury.alarm.snapshot()["raised"] == 1


async def until(condition: Any) -> None:
    end_s = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end_s
        await asyncio.sleep(0.01)


@pytest.mark.fault("O11")
async def test_a_webhook_gets_what_slack_takes(tmp_path: Path) -> None:
    with listening() as hook:
        budget = {"daily_limit_usd": 1, "alert_webhook": hook.address}
        async with keep_accounts_in(tmp_path, VirtualClock(), **budget) as kept:
            delivering = asyncio.ensure_future(kept.treasury.alarm.deliver())
            await spent(kept, USD * 9 // 10)
            kept.treasury.alarm.look()
            await until(lambda: kept.treasury.alarm.webhook.delivered)
            delivering.cancel()
        (posted,) = hook.posted
        assert list(posted) == ["text"]
        assert "has passed 80 %: $0.90 of $1.00 spent" in posted["text"]
        async with keep_accounts_in(tmp_path, VirtualClock(), **budget) as kept:
            assert kept.treasury.alarm.webhook.snapshot()["waiting"] == 0
    assert "secret" not in str(kept.log.events)


@pytest.mark.fault("O11")
async def test_what_was_not_delivered_before_a_stop_is_sent_after_the_start(
    tmp_path: Path,
) -> None:
    clock = VirtualClock()
    with listening() as hook:
        budget = {"daily_limit_usd": 1, "alert_webhook": hook.address}
        async with keep_accounts_in(tmp_path, clock, **budget) as kept:
            await spent(kept, USD)
            kept.treasury.alarm.look()
        async with keep_accounts_in(tmp_path, clock, **budget) as kept:
            delivering = asyncio.ensure_future(kept.treasury.alarm.deliver())
            await until(lambda: kept.treasury.alarm.webhook.delivered)
            delivering.cancel()
            assert told(kept) == []
    assert len(hook.posted) == 1


@pytest.mark.fault("O11")
@pytest.mark.parametrize("status", [500, 302, 0])
async def test_a_webhook_that_does_not_take_it_is_tried_a_few_times_and_given_up(
    tmp_path: Path, status: int
) -> None:
    log = EventList()
    alert = await an_alert(tmp_path)
    with listening() as hook:
        hook.answer = status
        webhook = Webhook(
            address=lambda: hook.address,
            done=lambda alert: None,
            log=log,
            pauses_s=(0.0, 0.0),
            limit_s=1.0,
        )
        delivering = asyncio.ensure_future(webhook.run())
        webhook.send(alert)
        await until(lambda: webhook.dropped)
        delivering.cancel()
    assert (len(hook.posted), hook.elsewhere, webhook.failed_tries) == (3, 0, 3)
    (dropped,) = log.named("alert_dropped")
    assert "secret" not in str(dropped)


@pytest.mark.fault("O11")
async def test_too_many_alerts_are_dropped_and_counted_and_nobody_waits(tmp_path: Path) -> None:
    log = EventList()
    alert = await an_alert(tmp_path)
    webhook = Webhook(address=lambda: "http://127.0.0.1:1/x", done=lambda alert: None, log=log)
    for _ in range(MAX_WAITING + 3):
        webhook.send(alert)
    assert webhook.snapshot() == {
        "waiting": MAX_WAITING,
        "delivered": 0,
        "dropped": 3,
        "failed_tries": 0,
    }


async def an_alert(tmp_path: Path) -> Any:
    async with keep_accounts_in(tmp_path / "one", VirtualClock(), daily_limit_usd=1) as kept:
        sent: list[Any] = []
        kept.treasury.alarm.webhook.send = sent.append  # type: ignore[method-assign]
        await spent(kept, USD)
        kept.treasury.alarm.look()
    return sent[0]
