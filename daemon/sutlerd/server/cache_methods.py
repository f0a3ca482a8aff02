"""The methods about stored answers: what there is, out with it, take it along, bring it in.

Users have their own scope. Where answers are shared, whoever takes them along would read what
others were told, and whoever brings some in would answer others: that is for operators.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictFloat, StrictInt, StrictStr

from sutlerd.cache.fingerprint import QUESTION_BYTES
from sutlerd.domain.errors import AccessDenied
from sutlerd.pipeline.cache_lines import Line
from sutlerd.server.services import Services
from sutlerd.server.session import Session

MAX_LINES = 1000


class _Shape(BaseModel):
    model_config = ConfigDict(extra="forbid")


class CacheParams(_Shape):
    """``everyone`` asks for all scopes, which only operators may."""

    everyone: StrictBool = False


class _MoveParams(_Shape):
    """``scope`` (``uid:1000``) is for operators; the caller's own where it is left out."""

    scope: Annotated[StrictStr, Field(pattern=r"^((uid|gid):[0-9]{1,10}|node)$")] | None = None


class ExportParams(_MoveParams):
    """``after`` is the last step's ``next``."""

    after: Annotated[StrictStr, Field(pattern=rf"^([0-9a-f]{{2}}){{1,{QUESTION_BYTES}}}$")] | (
        None
    ) = None


class ImportParams(_MoveParams):
    """``ttl_s`` is how long they live from now; as long as where they come from without it."""

    entries: Annotated[list[Line], Field(max_length=MAX_LINES)]
    key_version: StrictInt
    ttl_s: Annotated[StrictFloat | StrictInt, Field(gt=0, le=10 * 366 * 86_400)] | None = None


async def stats(services: Services, session: Session, params: CacheParams) -> dict[str, Any]:
    scope = _scope(session, params)
    await services.flush_cache()
    return services.cache_stats(scope)


async def clear(services: Services, session: Session, params: CacheParams) -> dict[str, Any]:
    cleared = await services.clear_cache(_scope(session, params))
    return {"cleared": cleared}


async def export(services: Services, session: Session, params: ExportParams) -> bytes:
    after = None if params.after is None else bytes.fromhex(params.after)
    return await services.cache_moves.give(_moved_scope(session, params), after)


async def take_in(services: Services, session: Session, params: ImportParams) -> dict[str, Any]:
    return await services.cache_moves.take(
        _moved_scope(session, params),
        params.entries,
        key_version=params.key_version,
        ttl_s=params.ttl_s,
    )


def _scope(session: Session, params: CacheParams) -> str | None:
    if not params.everyone:
        return session.scope
    if not session.caller.may_operate:
        raise AccessDenied("only operators see or clear everyone's cache; leave out everyone")
    return None


def _moved_scope(session: Session, params: _MoveParams) -> str:
    own = session.scope
    if session.caller.may_operate:
        return own if params.scope is None else params.scope
    if params.scope not in (None, own):
        raise AccessDenied("only operators move the answers of others; leave out scope")
    if own != f"uid:{session.caller.uid}":
        raise AccessDenied(
            f"the answers of {own} are shared (llm.cache.scope): only operators take them along "
            "or bring some in"
        )
    return own
