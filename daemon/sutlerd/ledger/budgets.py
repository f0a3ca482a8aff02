"""Which budgets a call touches: from the configuration's rules to accounts of today. Pure.

What is spent is counted by what the call is (its node, its user, its model …) and by period,
under names that no rule chooses: a budget that is renamed or raised goes on counting where it
was. Of several limits on one account the lowest holds. The node's days, months and all time
are counted whether limited or not; anything else from when a rule first asks for it.

Labels are a client's own word. They subdivide what its uid may spend and nothing else: an
account by component or project is of one uid, so nobody spends another's. Only a rule that
says so (``across_users``) counts a label's sum over all users, who then share its limit.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, tzinfo
from typing import Final

from sutlerd.config.schema_llm import BudgetConfig, BudgetRule
from sutlerd.domain.call import Labels, Route
from sutlerd.domain.caller import Caller
from sutlerd.domain.record import record
from sutlerd.ledger.book import Account, Touched
from sutlerd.ledger.calendar import Period, Span, span_at
from sutlerd.ledger.money import nanousd
from sutlerd.system.access import gid_of, uid_of
from sutlerd.system.exits import CannotStart, Exit

#: Stands for no limit: more than all the money there is, in nano-dollars.
UNLIMITED_NANOUSD: Final = 10**30
_LABELS: Final = ("component", "project")
#: So many different labels a user has accounts of its own for in one period; what is invented
#: beyond shares one.
MAX_LABELS_PER_UID: Final = 1000
_OTHERS: Final = "(others)"
_OF_ALL: Final = " of all users"
_NO_DAY: Final = Span(key="", begins_unix_s=0.0, ends_unix_s=0.0)


@record
class Spender:
    """What a budget may go by."""

    caller: Caller
    labels: Labels
    route: Route


@record
class Budget:
    """A limit, by the name the operator knows. ``match`` is the subject it is for, if one."""

    name: str
    per: str
    match: str | None
    period: Period
    limit_nanousd: int

    @property
    def kind(self) -> str:
        """The first part of an account's name: what is counted, and for how long."""
        return f"{self.per}/{self.period.value}"


@record
class _Subject:
    """What a budget may be for: as a rule's ``match`` spells it, and as an account's name.
    ``is_general`` says that a rule without ``match`` is for it, too."""

    match: str
    account: str
    is_general: bool = True

    def is_of(self, match: str | None) -> bool:
        return self.is_general if match is None else match == self.match


class Budgets:
    """All budgets of a configuration. Mutable only in which spans it has computed."""

    def __init__(self, config: BudgetConfig) -> None:
        self.zone = _zone(config.timezone)
        self.limits_money = config.enabled
        self.listed = tuple(_budgets(config)) if config.enabled else ()
        by_kind: dict[tuple[str, Period], list[Budget]] = defaultdict(list)
        for period in Period:
            by_kind["node", period] = []
        for budget in self.listed:
            by_kind[budget.per, budget.period].append(budget)
        self._kinds = [
            (per, period, f"{per}/{period.value}", budgets)
            for (per, period), budgets in by_kind.items()
        ]
        self._spans: dict[Period, Span] = {}
        self._day = _NO_DAY
        self._labels_seen: dict[tuple[str, int, str], set[str]] = {}

    def span(self, period: Period, now_unix_s: float) -> Span:
        known = self._spans.get(period)
        if known is None or not (
            known.begins_unix_s <= now_unix_s
            and (known.ends_unix_s is None or now_unix_s < known.ends_unix_s)
        ):
            known = self._spans[period] = span_at(period, self.zone, now_unix_s)
            self._labels_seen.clear()
        return known

    def day(self, now_unix_s: float) -> str:
        """Name the day; on the way of every call."""
        known = self._day
        if not known.begins_unix_s <= now_unix_s < (known.ends_unix_s or 0.0):
            known = self._day = self.span(Period.DAY, now_unix_s)
        return known.key

    def touched(self, spender: Spender, now_unix_s: float) -> list[Touched]:
        """Give every account that a call is counted in, with the lowest limit on it."""
        found = []
        for per, period, kind, budgets in self._kinds:
            span = self.span(period, now_unix_s)
            for subject in _SUBJECTS[per](spender):
                limits = [b.limit_nanousd for b in budgets if subject.is_of(b.match)]
                if not limits and budgets:
                    continue  # only others' are counted
                named = self._bounded(per, spender.caller.uid, span.key, subject.account)
                limit = min(limits, default=UNLIMITED_NANOUSD)
                found.append(Touched(account=Account(kind, named, span.key), limit_nanousd=limit))
        return found

    def named(self, account: Account, limit_nanousd: int) -> Budget | None:
        """Give the budget that set this limit on an account."""
        for budget in self.listed:
            if budget.kind != account.budget or budget.limit_nanousd != limit_nanousd:
                continue
            if budget.match is None or account.subject in (
                budget.match,
                _of_uid(account.subject) + budget.match,
            ):
                return budget
        return None

    def resets_at(self, account: Account, now_unix_s: float) -> str | None:
        """Tell when an account starts anew, in the budgets' time zone; ``None`` for never."""
        span = self.span(Period(account.budget.rpartition("/")[2]), now_unix_s)
        if span.ends_unix_s is None:
            return None
        return datetime.fromtimestamp(span.ends_unix_s, self.zone).isoformat()

    def current_spans(self, now_unix_s: float) -> set[str]:
        return {self.span(period, now_unix_s).key for period in Period}

    def _bounded(self, per: str, uid: int, span: str, subject: str) -> str:
        if per not in _LABELS:
            return subject
        seen = self._labels_seen.setdefault((per, uid, span), set())
        if subject not in seen:
            if len(seen) >= MAX_LABELS_PER_UID:
                return f"uid:{uid}/{per}:{_OTHERS}"
            seen.add(subject)
        return subject


def _budgets(config: BudgetConfig) -> Iterable[Budget]:
    for name, usd, period in (
        ("daily", config.daily_limit_usd, Period.DAY),
        ("monthly", config.monthly_limit_usd, Period.MONTH),
        ("total", config.total_limit_usd, Period.TOTAL),
    ):
        if usd is not None:
            limit = _share_of(nanousd(usd), config)
            yield Budget(name=name, per="node", match=None, period=period, limit_nanousd=limit)
    for rule in config.rules:
        match = _match(rule)
        yield Budget(
            name=rule.name or "/".join(filter(None, (match or rule.per, rule.period))),
            per=rule.per + _OF_ALL if rule.across_users else rule.per,
            match=match,
            period=Period(rule.period),
            limit_nanousd=_share_of(nanousd(rule.limit_usd), config),
        )


def _share_of(limit_nanousd: int, config: BudgetConfig) -> int:
    share = config.share
    if share is None:
        return limit_nanousd
    return limit_nanousd * share.numerator // share.denominator


def _match(rule: BudgetRule) -> str | None:
    """Spell the subject that a rule is for. Raises ``CannotStart`` for users nobody knows."""
    if rule.across_users and (rule.match is None or rule.per not in _LABELS):
        raise CannotStart(
            Exit.CONFIGURATION,
            "llm.budget.rules: across_users is for one component or project: name it by match",
        )
    if rule.match is None or rule.per == "node":
        return None
    try:
        if rule.per == "uid":
            return f"uid:{uid_of(rule.match)}"
        if rule.per == "group":
            return f"gid:{gid_of(rule.match)}"
    except KeyError as error:
        raise CannotStart(
            Exit.CONFIGURATION, f"llm.budget.rules: nobody is called {error}"
        ) from None
    return f"{rule.per}:{rule.match}"


def _plain(text: str) -> tuple[_Subject, ...]:
    return (_Subject(match=text, account=text),)


def _groups(spender: Spender) -> tuple[_Subject, ...]:
    """Give the caller's first group, and for rules by name all that it is in."""
    caller = spender.caller
    return tuple(
        _Subject(match=f"gid:{gid}", account=f"gid:{gid}", is_general=gid == caller.gid)
        for gid in sorted(caller.groups | {caller.gid})
    )


def _job(spender: Spender) -> tuple[_Subject, ...]:
    caller = spender.caller
    return _plain(f"job:{caller.job}" if caller.job else f"uid:{caller.uid}/no job")


def _label(name: str, value: str | None, uid: int) -> tuple[_Subject, ...]:
    match = f"{name}:{value or ''}"
    return (_Subject(match=match, account=f"uid:{uid}/{match}"),)


_SUBJECTS: Final[dict[str, Callable[[Spender], tuple[_Subject, ...]]]] = {
    "node": lambda spender: _plain("node"),
    "provider": lambda spender: _plain(f"provider:{spender.route.provider}"),
    "model": lambda spender: _plain(f"model:{spender.route.model}"),
    "uid": lambda spender: _plain(f"uid:{spender.caller.uid}"),
    "group": _groups,
    "job": _job,
    "component": lambda of: _label("component", of.labels.component, of.caller.uid),
    "project": lambda of: _label("project", of.labels.project, of.caller.uid),
    "component" + _OF_ALL: lambda of: _plain(f"component:{of.labels.component or ''}"),
    "project" + _OF_ALL: lambda of: _plain(f"project:{of.labels.project or ''}"),
}


def _of_uid(subject: str) -> str:
    """Give the part of a label's account that says whose it is."""
    return subject.partition("/")[0] + "/"


def _zone(name: str) -> tzinfo:
    if name == "UTC":
        return UTC
    from zoneinfo import ZoneInfo

    return ZoneInfo(name)
