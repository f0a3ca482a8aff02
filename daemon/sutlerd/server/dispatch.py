"""From a request to its method: hits first, then calls for replies, then all the rest."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Mapping
from typing import TYPE_CHECKING, Any

import orjson

from sutlerd.domain.call import MAX_LABELS
from sutlerd.domain.errors import (
    AccessDenied,
    CallError,
    InternalError,
    InvalidRequest,
    MethodNotFound,
    ShuttingDown,
)
from sutlerd.ledger.rows import payer_of
from sutlerd.pipeline.hits import MAX_PARAMS_BYTES
from sutlerd.pipeline.nearest import nearest
from sutlerd.pipeline.result import Answer, compose_hit
from sutlerd.server.pending import PendingReply, PendingTask
from sutlerd.server.replies import chunk_lines, encode_id, error_line, result_line, value_line
from sutlerd.server.requests import REPLY_METHODS, Request
from sutlerd.system.late import LOADING
from sutlerd.telemetry.conventions import CHAT, EMBEDDINGS

if TYPE_CHECKING:
    from sutlerd.server.connection import Connection
    from sutlerd.server.methods import Method

_REQUEST_NAME = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")
_SHOWN_METHOD = 100


def dispatch(connection: Connection, request: Request) -> None:
    """Serve one request, now or by what is begun here; it gets exactly one final line."""
    if request.id is not None and request.id in connection.pending:
        refused = InvalidRequest("this id is in use by a request under way: choose another")
        connection.send(error_line(None, refused, duplicate_id=request.id))
        return
    if request.method in REPLY_METHODS:
        if not _answer_hit(connection, request):
            _begin_reply(connection, request)
        return
    method = _methods().get(request.method)
    try:
        if method is None:
            raise _no_such_method(request.method)
        _check_open(connection, method)
        _run(connection, request, method)
    except CallError as error:
        connection.hub.tally.failed(error.type)
        if request.method == "embed":
            params, caller = _labelled(connection, request.params), connection.caller
            connection.hub.accounting.refused(
                caller, params.get("labels"), params.get("request_id"), "embed", error.type
            )
            connection.hub.pipeline.teller.refused(EMBEDDINGS, caller, params, error)
        connection.send(error_line(request.id, error))


def _methods() -> Mapping[str, Method]:
    """Give the table of methods, which is loaded behind READY."""
    with LOADING:
        from sutlerd.server.methods import METHODS
    return METHODS


def _answer_hit(connection: Connection, request: Request) -> bool:
    """Answer from the store what was asked before in the same words."""
    if connection.line_bytes > MAX_PARAMS_BYTES:
        return False  # too long to be remembered, and to be compared for nothing
    hub = connection.hub
    started_s = hub.clock.monotonic_s()
    params = request.params
    name = params.pop("request_id", None)
    if name is not None and (type(name) is not str or not _REQUEST_NAME.fullmatch(name)):
        params["request_id"] = name
        return False
    found = None
    if not hub.draining:
        found = hub.hit_path.find(
            connection.hit_place, connection.caller.uid, request.method, params, name
        )
    if found is None:
        if name is not None:
            params["request_id"] = name
        return False
    id_text = encode_id(request.id)
    if params.get("stream") is True:
        connection.send(chunk_lines(id_text, Answer(payload=found, cached=True).pieces()))
    hub.tally.hits += 1
    result = compose_hit(
        found,
        latency_ms=(hub.clock.monotonic_s() - started_s) * 1000,
        request_id=name or hub.resolver.request_id(None),
    )
    connection.send(result_line(id_text, result))
    return True


def _begin_reply(connection: Connection, request: Request) -> None:
    hub = connection.hub
    name = request.params.get("request_id")
    try:
        if hub.draining:
            raise ShuttingDown("the daemon is stopping: reconnect and ask again")
        now_s = hub.clock.monotonic_s()
        params = _labelled(connection, request.params)
        resolved = hub.pipeline.resolve(request.method, params, connection.caller)
        pending = PendingReply(connection, request.id, resolved.call, now_s=now_s)
        connection.begins(pending)
    except CallError as error:
        hub.tally.failed(error.type)
        claimed = request.params.get("labels", connection.labels)
        hub.accounting.refused(connection.caller, claimed, name, "chat", error.type)
        said = {**request.params, "labels": claimed}
        hub.pipeline.teller.refused(CHAT, connection.caller, said, error)
        connection.send(error_line(request.id, error, name=name if isinstance(name, str) else None))
        return
    try:
        flight = hub.pipeline.start(resolved, pending)
    except CallError as error:
        hub.pipeline.teller.turned_away(resolved.call, error)
        pending.on_error(error)
        return
    if flight is not None:
        pending.follows(flight, connection.loop, now_s=now_s)
    short = connection.line_bytes <= MAX_PARAMS_BYTES
    if short and resolved.call.cacheable and resolved.call.cache_mode.reads:
        payer = payer_of(connection.caller, resolved.call.labels)
        hub.hit_path.learn(
            connection.hit_place, payer, request.method, request.params, resolved.key
        )


def _labelled(connection: Connection, params: dict[str, Any]) -> dict[str, Any]:
    """Add what ``hello`` claimed where the request claims nothing itself, as far as there is
    room for labels."""
    labels = params.get("labels")
    if not connection.labels or not isinstance(labels, (dict, type(None))):
        return params
    own = labels or {}
    room = max(0, MAX_LABELS - len(own))
    claimed = [name for name in connection.labels if name not in own][:room]
    return {**params, "labels": {**own, **{name: connection.labels[name] for name in claimed}}}


def _run(connection: Connection, request: Request, method: Method) -> None:
    from sutlerd.pipeline.params import parse

    params = parse(method.params, request.params)
    outcome = method.run(connection.hub.services, connection, params)
    if not isinstance(outcome, Awaitable):
        connection.send(value_line(request.id, outcome))
        return
    name = getattr(params, "request_id", None)
    pending = PendingTask(connection, request.id, name)
    try:
        connection.begins(pending)
    except CallError:
        if asyncio.iscoroutine(outcome):
            outcome.close()
        raise
    task = connection.hub.spawn(_finish(pending, outcome), request.method)
    pending.runs_as(task)


async def _finish(pending: PendingTask, outcome: Awaitable[Any]) -> None:
    try:
        result = await outcome
    except CallError as error:
        pending.on_error(error)
    except asyncio.CancelledError:
        raise
    except BaseException as error:
        # A bug of ours must not leave the caller waiting; who owns the task logs it.
        pending.on_error(InternalError(f"{type(error).__name__}: see the daemon's log"))
        raise
    else:
        pending.on_result(result if isinstance(result, bytes) else orjson.dumps(result))


def _check_open(connection: Connection, method: Method) -> None:
    if connection.hub.draining and method.costs:
        raise ShuttingDown("the daemon is stopping: reconnect and ask again")
    if method.operators_only and not connection.caller.may_operate:
        connection.hub.log.event(
            "warning", "refused", uid=connection.caller.uid, why="an operator's method"
        )
        raise AccessDenied(
            f"uid {connection.caller.uid} is no operator of this daemon: ask one, "
            "or have access.operators name you"
        )


def _no_such_method(name: str) -> MethodNotFound:
    near = nearest(name, [*_methods(), *REPLY_METHODS])
    hint = f"; did you mean {near}?" if near else "; hello lists the methods"
    return MethodNotFound(f"no method {name[:_SHOWN_METHOD]!r}{hint}")
