"""The methods that show the accounts. Users see their own, operators everyone's."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictInt, StrictStr

from sutlerd.domain.caller import Caller
from sutlerd.domain.errors import AccessDenied, InvalidParams
from sutlerd.pipeline.account_views import Wanted
from sutlerd.server.services import Services
from sutlerd.server.session import Session


def _day(text: str) -> str:
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        raise ValueError("must be a day, as YYYY-MM-DD") from None


Day = Annotated[StrictStr, Field(max_length=32), AfterValidator(_day)]
Group = Literal["day", "uid", "job", "component", "project", "provider", "model"]
JobName = Annotated[StrictStr, Field(min_length=1, max_length=256)]
Uid = Annotated[StrictInt, Field(ge=0, le=2**32 - 2)]


class UsageParams(BaseModel):
    """``by`` is one group, several, or ``request`` for single calls as far as they are kept."""

    model_config = ConfigDict(extra="forbid", defer_build=True)

    since: Day | None = None
    until: Day | None = None
    by: Group | Literal["request"] | Annotated[list[Group], Field(max_length=7)] | None = None
    uid: Uid | None = None
    job: JobName | None = None


class ReportParams(BaseModel):
    """``job`` is the caller's own where it is left out."""

    model_config = ConfigDict(extra="forbid", defer_build=True)

    job: JobName | None = None
    since: Day | None = None
    until: Day | None = None


class BudgetParams(BaseModel):
    model_config = ConfigDict(extra="forbid", defer_build=True)


class AmendParams(BaseModel):
    """What an unknown attempt really cost, and how the operator knows."""

    model_config = ConfigDict(extra="forbid", defer_build=True)

    attempt: Annotated[StrictInt, Field(ge=1)]
    cost_nanousd: Annotated[StrictInt, Field(ge=0, le=2**63 - 1)]
    why: Annotated[StrictStr, Field(min_length=1, max_length=500)]


async def usage(services: Services, session: Session, params: UsageParams) -> dict[str, Any]:
    wanted = Wanted(
        since=params.since,
        until=params.until,
        uid=_visible_uid(session.caller, params.uid),
        job=params.job,
    )
    if params.by == "request":
        return await services.account_views.calls(wanted)
    by = params.by if isinstance(params.by, list) else [params.by or "day"]
    return await services.account_views.usage(wanted, list(dict.fromkeys(by)))


async def report(services: Services, session: Session, params: ReportParams) -> dict[str, Any]:
    job = params.job or session.caller.job
    if job is None:
        raise InvalidParams("params.job: this process is in no batch job: name one")
    wanted = Wanted(
        since=params.since,
        until=params.until,
        uid=_visible_uid(session.caller, None),
        job=job,
    )
    return await services.account_views.report(wanted)


def budget(services: Services, session: Session, params: BudgetParams) -> dict[str, Any]:
    return services.budget_views.budgets(session.caller)


async def budget_amend(services: Services, session: Session, params: AmendParams) -> dict[str, Any]:
    return await services.budget_views.amend(params.attempt, params.cost_nanousd, params.why)


def _visible_uid(caller: Caller, asked: int | None) -> int | None:
    """Give the uid whose account may be seen, ``None`` for everyone's."""
    if caller.may_operate:
        return asked
    if asked not in (None, caller.uid):
        raise AccessDenied("only operators see other users' accounts; leave out uid")
    return caller.uid
