"""Where an attempt meets money: what it may cost, what it holds, what it did cost.

Translates between calls and the ledger's bare figures. Every attempt has a quote before the
gate, a reservation from the gate's own step, and exactly one end.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sutlerd.admission.asking import WaitForMoney
from sutlerd.domain.call import Labels, Route
from sutlerd.domain.caller import Caller
from sutlerd.domain.errors import BudgetExceeded, CallError, OutcomeUnknown, PriceUnknown
from sutlerd.domain.ports import Clock
from sutlerd.domain.record import quick, record
from sutlerd.domain.reply import Embedded, Reply
from sutlerd.ledger import ledger as ledgers
from sutlerd.ledger.ledger import Ledger
from sutlerd.ledger.prompt_bound import tokens_in_at_most
from sutlerd.ledger.reservation import Named, Reservation, Spend
from sutlerd.ledger.tariff import FREE
from sutlerd.ledger.worst_case import dearest_nanousd
from sutlerd.pipeline.costs import Costs
from sutlerd.providers.contract import Outcome

_new_spend = quick(Spend)

#: Tells of a uid's own request id whether it will be refused, since it may have been paid for.
InDoubt = Callable[[int, str], bool]


@record
class Bill:
    """Who pays for an attempt: the one who opened its flight. ``given_id`` says that the
    caller chose ``request_id``; ``kind`` is ``chat`` or ``embed``. ``askers`` grows with the
    requests that share the attempt under ids of their own."""

    request_id: str
    given_id: bool
    caller: Caller
    labels: Labels
    kind: str
    askers: Sequence[Named] = ()

    @property
    def uid(self) -> int:
        return self.caller.uid


class Till:
    """Made anew by every reload, with its prices; the ledger behind it lasts.

    ``refuses_unknown``: whether a model that nobody has priced is refused.
    """

    def __init__(
        self, *, ledger: Ledger, costs: Costs, refuses_unknown: bool, clock: Clock
    ) -> None:
        self._ledger = ledger
        self._costs = costs
        self._refuses_unknown = refuses_unknown
        self._clock = clock

    def is_in_doubt(self, uid: int, request_id: str) -> bool:
        """Tell whether a request under its caller's own id may have been paid for: it buys
        nothing then, not for others either."""
        return self._ledger.is_outcome_unknown(uid, request_id)

    async def quote(
        self,
        bill: Bill,
        route: Route,
        body: Mapping[str, Any],
        *,
        max_tokens_out: int,
        within_s: float,
    ) -> Spend:
        """Give the most that an attempt may cost that is sent ``within_s`` from now.

        Raises ``PriceUnknown`` where that is refused, and ``OutcomeUnknown`` for an id whose
        first try was under way when the daemon died: it may have been paid for.
        """
        if bill.given_id and self.is_in_doubt(bill.caller.uid, bill.request_id):
            raise OutcomeUnknown(
                f"request {bill.request_id} was under way when the daemon died: it may have been "
                "answered, and was charged; ask again under a new request_id"
            )
        worst_case: int | None = 0
        tariff = FREE if self._costs.is_free(route) else await self._costs.tariff(route)
        may_cost = tariff is not FREE
        if may_cost:
            worst_case = None
            if tariff is not None or not self._refuses_unknown:
                now_unix_s = self._clock.unix_s()
                own = [] if tariff is None else [tariff]
                worst_case = dearest_nanousd(
                    [*own, *await self._costs.served_as(route)],
                    tokens_in=tokens_in_at_most(body),
                    max_tokens_out=max_tokens_out,
                    since_unix_s=now_unix_s,
                    until_unix_s=now_unix_s + max(0.0, within_s),
                )
            if worst_case is None and self._refuses_unknown:
                raise PriceUnknown(
                    f"{route} has no price, and a budget is on: give it one with llm.prices: "
                    f"{{{route}: {{input_usd: …, output_usd: …}}}}, or allow it with "
                    "llm.budget.unknown_price: allow"
                )
        return _new_spend(
            request_id=bill.request_id,
            given_id=bill.given_id,
            caller=bill.caller,
            labels=bill.labels,
            route=route,
            kind=bill.kind,
            worst_case_nanousd=worst_case,
            prices=self._costs.price_hash if may_cost else "",
            may_cost=may_cost,
            askers=bill.askers,
        )

    def reserve(self, spend: Spend) -> Reservation:
        """Hold the money; to be called in the gate's step. Raises ``WaitForMoney`` of the gate,
        or the ``CallError`` that refuses."""
        answer = self._ledger.try_reserve(spend)
        if isinstance(answer, Reservation):
            return answer
        if isinstance(answer, ledgers.WaitForMoney):
            raise WaitForMoney(answer.account, need=answer.needed_nanousd, refusal=answer.refusal)
        assert isinstance(answer, CallError)
        raise answer

    def reserve_now(self, spend: Spend) -> Reservation:
        """Hold the money or be refused, without waiting for any. Raises ``CallError``."""
        try:
            return self.reserve(spend)
        except WaitForMoney as short:
            raise short.refusal or BudgetExceeded("there is no money now") from None

    async def settle(
        self,
        reservation: Reservation,
        route: Route,
        brought: Reply | Embedded,
        *,
        asked_unix_s: float,
    ) -> int | None:
        """Book what an attempt brought; give its cost, ``None`` where nobody knows it."""
        cost: int | None
        if self._costs.is_free(route):
            cost = 0
        elif isinstance(brought, Reply):
            cost = await self._costs.of(route, brought, asked_unix_s=asked_unix_s)
        else:
            cost = await self._costs.of_embedding(route, brought, asked_unix_s=asked_unix_s)
        usage, served = brought.usage, brought.model
        if cost is not None:
            reservation.settle(cost, usage=usage, served=served)
        elif reservation.is_free:
            reservation.settle(0, usage=usage, served=served, why="unpriced")
        else:
            # Known to cost, and nobody can say how much: usage or a price is missing.
            cost = reservation.charge_in_full(usage=usage, served=served)
        return cost

    def failed(self, reservation: Reservation, outcome: Outcome) -> int:
        """End the money of an attempt that brought nothing; give what was booked for it."""
        if outcome is Outcome.NOT_SENT:
            reservation.release()
        elif outcome is Outcome.NOT_BILLED:
            reservation.settle_zero()
        else:
            return reservation.charge_in_full()
        return 0
