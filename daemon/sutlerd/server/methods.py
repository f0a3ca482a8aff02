"""The methods of the wire that are not calls for a reply: one table, one function each.

A function takes the services, the session that asks, and its checked parameters; it gives
the result, or an awaitable of it where it takes time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StrictInt, StrictStr

from sutler.wire import PROTOCOL_VERSION
from sutlerd.domain.errors import InvalidParams, Overloaded
from sutlerd.domain.record import record
from sutlerd.pipeline.params import (
    CountTokensParams,
    EmbedParams,
    LabelName,
    LabelText,
    RenderParams,
)
from sutlerd.pipeline.resolve import read_labels
from sutlerd.server import cache_methods, prompts
from sutlerd.server.account_methods import (
    AmendParams,
    BudgetParams,
    ReportParams,
    UsageParams,
    budget,
    budget_amend,
    report,
    usage,
)
from sutlerd.server.cache_methods import CacheParams, ExportParams, ImportParams
from sutlerd.server.requests import REPLY_METHODS
from sutlerd.server.services import Control, Services
from sutlerd.server.session import Session
from sutlerd.system.access import uid_of


class NoParams(BaseModel):
    model_config = ConfigDict(extra="forbid", defer_build=True)


class CancelParams(NoParams):
    id: StrictInt | StrictStr


class HelloParams(NoParams):
    client: Annotated[StrictStr, Field(max_length=256)] | None = None
    version: Annotated[StrictStr, Field(max_length=64)] | None = None
    protocol: StrictInt | None = None
    labels: Annotated[dict[LabelName, LabelText | StrictInt], Field(max_length=16)] | None = None


class CheckParams(NoParams):
    """``names`` of providers; all that are configured where it is left out."""

    names: Annotated[list[StrictStr], Field(max_length=256)] | None = None


class TokenParams(NoParams):
    """``user``, a name or a uid, is whom the token stands for; who asks, if it is left out."""

    user: Annotated[StrictStr, Field(min_length=1, max_length=64)] | StrictInt | None = None


@record
class Method:
    """``costs`` marks methods that a stopping daemon begins no more."""

    params: type[BaseModel]
    run: Callable[[Services, Any, Any], dict[str, Any] | Awaitable[Any]]
    costs: bool = False
    operators_only: bool = False


def ping(services: Services, session: Session, params: NoParams) -> dict[str, Any]:
    return {}


def hello(services: Services, session: Session, params: HelloParams) -> dict[str, Any]:
    if params.labels is not None:
        session.labels = {name: str(value) for name, value in params.labels.items()}
    caller = session.caller
    return {
        "protocol": PROTOCOL_VERSION,
        "version": services.version,
        "instance": services.instance,
        "methods": sorted([*METHODS, *REPLY_METHODS]),
        "limits": services.limits.model_dump(),
        "caller": {
            "uid": caller.uid,
            "gid": caller.gid,
            "pid": caller.pid,
            "job": caller.job,
            "operator": caller.may_operate,
        },
    }


def cancel(services: Services, session: Session, params: CancelParams) -> dict[str, Any]:
    return {"cancelled": session.cancel_request(params.id)}


async def models(services: Services, session: Session, params: NoParams) -> dict[str, Any]:
    return {"models": await services.list_models()}


def status(services: Services, session: Session, params: NoParams) -> dict[str, Any]:
    return services.status(session.caller)


def queue(services: Services, session: Session, params: NoParams) -> dict[str, Any]:
    return {"waiting": services.queue(session.caller)}


async def embed(services: Services, session: Session, params: EmbedParams) -> bytes:
    labels = read_labels({**session.labels, **params.labels})
    return await services.embeddings.embed(params, session.caller, labels)


async def providers_check(
    services: Services, session: Session, params: CheckParams
) -> dict[str, Any]:
    return await services.checking.check(params.names, session.caller)


async def token_create(services: Services, session: Session, params: TokenParams) -> dict[str, Any]:
    uid = _token_uid(session, params)
    token = services.tokens.make(uid)
    await asyncio.to_thread(services.tokens.save)
    return {"token": token, "uid": uid}


async def token_revoke(services: Services, session: Session, params: TokenParams) -> dict[str, Any]:
    uid = _token_uid(session, params)
    revoked = services.tokens.revoke(uid)
    await asyncio.to_thread(services.tokens.save)
    return {"revoked": revoked, "uid": uid}


async def count_tokens(
    services: Services, session: Session, params: CountTokensParams
) -> dict[str, Any]:
    return await services.counting.count(params)


async def reload(services: Services, session: Session, params: NoParams) -> dict[str, Any]:
    return await _control(services).reload()


def drain(services: Services, session: Session, params: NoParams) -> dict[str, Any]:
    _control(services).drain()
    return {"draining": True}


def _control(services: Services) -> Control:
    if services.control is None:
        raise Overloaded("the daemon is still starting", retry_after_s=1.0)
    return services.control


def _token_uid(session: Session, params: TokenParams) -> int:
    if params.user is None:
        return session.caller.uid
    try:
        return uid_of(params.user)
    except KeyError:
        raise InvalidParams(f"params.user: nobody is called {str(params.user)[:100]!r}") from None


METHODS: dict[str, Method] = {
    "ping": Method(params=NoParams, run=ping),
    "hello": Method(params=HelloParams, run=hello),
    "cancel": Method(params=CancelParams, run=cancel),
    "models": Method(params=NoParams, run=models),
    "status": Method(params=NoParams, run=status),
    "queue": Method(params=NoParams, run=queue),
    "cache.stats": Method(params=CacheParams, run=cache_methods.stats),
    "cache.clear": Method(params=CacheParams, run=cache_methods.clear),
    "cache.export": Method(params=ExportParams, run=cache_methods.export),
    "cache.import": Method(params=ImportParams, run=cache_methods.take_in),
    "usage": Method(params=UsageParams, run=usage),
    "report": Method(params=ReportParams, run=report),
    "budget": Method(params=BudgetParams, run=budget),
    "budget.amend": Method(params=AmendParams, run=budget_amend, operators_only=True),
    "embed": Method(params=EmbedParams, run=embed, costs=True),
    "providers.check": Method(
        params=CheckParams, run=providers_check, costs=True, operators_only=True
    ),
    "reload": Method(params=NoParams, run=reload, operators_only=True),
    "drain": Method(params=NoParams, run=drain, operators_only=True),
    "prompts.list": Method(params=prompts.ListParams, run=prompts.list_templates),
    "prompts.render": Method(params=RenderParams, run=prompts.render),
    "prompts.check": Method(params=prompts.CheckPromptsParams, run=prompts.check),
    "count_tokens": Method(params=CountTokensParams, run=count_tokens, costs=True),
    "token.create": Method(params=TokenParams, run=token_create, operators_only=True),
    "token.revoke": Method(params=TokenParams, run=token_revoke, operators_only=True),
}
