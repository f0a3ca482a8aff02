"""Looks after the budgets' marks: tells the log at once, the webhook in its own time.

Told crossings are remembered on the ledger's file. One that could not be delivered before a
stop is sent again after the start.
"""

from __future__ import annotations

from typing import Any, Final

from sutlerd.domain.ports import EventLog
from sutlerd.domain.record import record
from sutlerd.ledger.account_store import AccountStore
from sutlerd.ledger.alerts import Alert, Crossings
from sutlerd.ledger.balances import Paces, standings
from sutlerd.ledger.book import Account
from sutlerd.ledger.ledger import Ledger
from sutlerd.ledger.webhook import Webhook

#: Marks are remembered for so many periods' worth of alerts, the oldest dropped first.
MAX_MARKS: Final = 20_000


@record
class AlarmSettings:
    """``webhook`` is an address that is a secret, or ``None``."""

    threshold_pct: float
    webhook: str | None


class Alarm:
    """One per daemon. ``settings`` may be replaced at any time."""

    def __init__(
        self, *, ledger: Ledger, store: AccountStore, settings: AlarmSettings, log: EventLog
    ) -> None:
        self.settings = settings
        self.paces = Paces()
        self.raised = 0
        self.webhook = Webhook(address=lambda: self.settings.webhook, done=self._delivered, log=log)
        self._ledger = ledger
        self._store = store
        self._log = log
        self._crossings = Crossings()
        self._unmarked: list[tuple[Alert, bool]] = []

    async def take_up(self) -> None:
        """Read what was told before. Raises ``CannotStart`` for what is damaged."""
        marks = await self._store.marks()
        self._crossings = Crossings(alert.key for alert, _ in marks)
        spans = self._ledger.budgets.current_spans(self._ledger.now_unix_s())
        for alert, delivered in marks:
            if not delivered and alert.account.span in spans:
                self.webhook.send(alert)

    def look(self) -> None:
        """Look at every budget, and tell what has passed a mark since the last look."""
        ledger, now_unix_s = self._ledger, self._ledger.now_unix_s()
        accounts: set[Account] = set()
        for standing in standings(ledger):
            account = standing.account
            accounts.add(account)
            self.paces.look(account, now_unix_s, standing.balance.settled_nanousd)
            alerts = self._crossings.look(
                standing,
                threshold_pct=self.settings.threshold_pct,
                is_short=account in ledger.short_of,
                resets_at=ledger.budgets.resets_at(account, now_unix_s),
            )
            for alert in alerts:
                self._tell(alert)
        self.paces.keep_only(accounts)
        ledger.short_of.clear()
        self.remember()

    async def deliver(self) -> None:
        """Deliver alerts as long as the daemon lives."""
        await self.webhook.run()

    def snapshot(self) -> dict[str, Any]:
        """Give counters, for ``status`` and metrics."""
        return {"raised": self.raised, "webhook": self.webhook.snapshot()}

    def _tell(self, alert: Alert) -> None:
        self.raised += 1
        level = "error" if alert.is_out else "warning"
        self._log.event(level, "budget_alert", said=alert.text, **alert.to_fields())
        self._unmarked.append((alert, self.settings.webhook is None))
        self.webhook.send(alert)

    def _delivered(self, alert: Alert) -> None:
        self._unmarked.append((alert, True))

    def remember(self) -> None:
        """Note on the disk what was told; what cannot be written now is tried again."""
        marks, self._unmarked = self._unmarked, []
        if not marks:
            return

        def written(_: object, error: BaseException | None) -> None:
            if error is not None:
                self._unmarked = [*marks, *self._unmarked][:MAX_MARKS]

        if not self._store.store.submit(self._store.mark(marks), done=written):
            self._unmarked = [*marks, *self._unmarked][:MAX_MARKS]
