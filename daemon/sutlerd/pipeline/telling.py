"""What is told of a call that was not answered from the cache: one line in the log, its spans.

The line says who asked, what of whom, how long it waited and took, what it cost and how it
ended. Nothing of what was said is in it. What was refused before a provider could be asked has
its line and its span, too, but no more of them a second than anybody reads: refusals are cheap,
and who is refused may ask again at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sutlerd.domain.call import Call, Labels, Route
from sutlerd.domain.caller import Caller
from sutlerd.domain.errors import CallError, Cancelled
from sutlerd.domain.ports import Clock, EventLog
from sutlerd.domain.reply import Reply
from sutlerd.ledger.rows import bounded
from sutlerd.pipeline.coalesce import Flight
from sutlerd.pipeline.embed_batch import Batch
from sutlerd.pipeline.journey import Arrived
from sutlerd.pipeline.result import Answer, served_from
from sutlerd.pipeline.till import Bill
from sutlerd.pipeline.tracing import Ending, Tracer
from sutlerd.pipeline.tried import ANSWERED, Tried
from sutlerd.telemetry import conventions

CANCELLED = "cancelled"
#: Lines a second of what was refused at once; the next one says how many had none.
MAX_REFUSALS_PER_S: Final = 100
_SHOWN_CHARS: Final = 500


class Teller:
    """``tracer`` is ``None`` where no traces are sent. Times are monotonic seconds."""

    def __init__(self, *, log: EventLog, clock: Clock, tracer: Tracer | None) -> None:
        self._log = log
        self._clock = clock
        self._tracer = tracer
        self._second = 0
        self._refusals = 0
        self._unsaid = 0

    def called(
        self,
        flight: Flight,
        call: Call,
        started_s: float,
        *,
        arrived: Arrived[Reply] | None = None,
        answer: Answer | None = None,
        error: CallError | None = None,
        known: bool = False,
    ) -> None:
        """Tell how a chat call ended: by an answer, by one that was ``known`` after all, by an
        error, or, without any, by its callers' leave."""
        if self._tracer is None and error is None and not self._log.tells("info"):
            return
        ending = Ending(
            operation=conventions.CHAT,
            request_id=call.request_id,
            caller=call.caller,
            labels=call.labels,
            route=call.routes[0] if arrived is None else arrived.leg.route,
            started_s=started_s,
            outcome=_outcome(known or arrived is not None, error),
            tried=flight.tried,
            traceparent=call.traceparent,
            call=call,
            reply=None if arrived is None else arrived.brought,
            cost_nanousd=None if answer is None else answer.cost_nanousd,
            queued_s=_queued_s(flight.tried),
            bucket=None if arrived is None else arrived.bucket,
        )
        more = {} if call.prompt is None else {"prompt": _prompt(call)}
        self._tell("call", ending, error, more)

    def left(self, flight: Flight, call: Call, started_s: float) -> None:
        """Tell that nobody waits for a chat call any more, by what its last caller was told."""
        self.called(flight, call, started_s, error=_unless_cancelled(flight.left_for))

    def bought(
        self,
        batch: Batch,
        bill: Bill,
        route: Route,
        started_s: float,
        *,
        error: CallError | None = None,
    ) -> None:
        """Tell how the purchase of some texts' embeddings ended."""
        if self._tracer is None and error is None and not self._log.tells("info"):
            return
        ending = Ending(
            operation=conventions.EMBEDDINGS,
            request_id=bill.request_id,
            caller=bill.caller,
            labels=bill.labels,
            route=route,
            started_s=started_s,
            outcome=_outcome(batch.embedded is not None, error),
            tried=batch.tried,
            traceparent=batch.traceparent,
            reply=batch.embedded,
            cost_nanousd=None if batch.embedded is None else batch.cost_nanousd,
            queued_s=_queued_s(batch.tried),
        )
        self._tell("embed", ending, error, {"texts": len(batch.texts)})

    def deserted(self, batch: Batch, bill: Bill, route: Route, started_s: float) -> None:
        """Tell that nobody waits for a purchase any more, as ``left`` does."""
        self.bought(batch, bill, route, started_s, error=_unless_cancelled(batch.left_for))

    def turned_away(self, call: Call, error: CallError) -> None:
        """Tell of a call that was refused before anything was begun for it."""
        if self._may_tell(error):
            self._refused(
                conventions.CHAT,
                error,
                caller=call.caller,
                labels=call.labels,
                request_id=call.request_id,
                route=call.routes[0],
                traceparent=call.traceparent,
            )

    def refused(
        self, operation: str, caller: Caller, params: Mapping[str, Any], error: CallError
    ) -> None:
        """Tell of a request that never became a call, unless it was told; ``params`` are as they
        came, and may be anything."""
        if self._may_tell(error):
            name = params.get("request_id")
            self._refused(
                operation,
                error,
                caller=caller,
                labels=_claimed(params.get("labels")),
                request_id=bounded(name) if isinstance(name, str) else None,
                route=None,
                traceparent=_traceparent(params.get("metadata")),
            )

    def known(self, call: Call, payload: bytes) -> None:
        """Note a call that was answered from the cache on the long way."""
        tracer = self._tracer
        if tracer is None or not tracer.hit_is_due():
            return
        served = served_from(payload)
        tracer.hit(
            call.caller.uid,
            served.provider,
            served.model,
            request_id=call.request_id,
            traceparent=call.traceparent,
        )

    def _may_tell(self, error: CallError) -> bool:
        """Say whether an error is still to be told, and there is room for it in this second."""
        if error.is_told:
            return False
        error.is_told = True
        second = int(self._clock.monotonic_s())
        if second != self._second:
            self._second, self._refusals = second, 0
        self._refusals += 1
        if self._refusals > MAX_REFUSALS_PER_S:
            self._unsaid += 1
            return False
        return True

    def _refused(self, operation: str, error: CallError, **known: Any) -> None:
        ending = Ending(
            operation=operation,
            started_s=self._clock.monotonic_s(),
            outcome=error.type,
            tried=(),
            **known,
        )
        unsaid, self._unsaid = self._unsaid, 0
        more = {"untold_before": unsaid} if unsaid else {}
        self._tell("call" if operation == conventions.CHAT else "embed", ending, error, more)

    def _tell(
        self, name: str, ending: Ending, error: CallError | None, more: Mapping[str, object]
    ) -> None:
        trace_id = None if self._tracer is None else self._tracer.ended(ending)
        fields: dict[str, Any] = {
            "request_id": ending.request_id,
            "uid": ending.caller.uid,
            **_claims(ending.caller, ending.labels),
            "route": None if ending.route is None else str(ending.route),
            "waited_ms": round(ending.queued_s * 1000, 1),
            "ms": round((self._clock.monotonic_s() - ending.started_s) * 1000, 1),
            "attempts": sum(tried.sent_s is not None for tried in ending.tried),
            **more,
        }
        if trace_id is not None:
            fields["trace"] = trace_id
        if ending.reply is not None:
            usage = ending.reply.usage
            fields |= {"tokens_in": usage.tokens_in, "tokens_out": usage.tokens_out}
            fields["cost_nanousd"] = ending.cost_nanousd
        level = "info"
        if error is not None:
            fields["error"] = error.message[:_SHOWN_CHARS]
            error.is_told = True
            level = error.log_level
        self._log.event(level, name, outcome=ending.outcome, **fields)


def _outcome(answered: bool, error: CallError | None) -> str:
    if error is not None:
        return error.type
    return ANSWERED if answered else CANCELLED


def _unless_cancelled(error: CallError | None) -> CallError | None:
    """Give why a caller was let go; who cancels wants no error told, and is no trouble."""
    return None if isinstance(error, Cancelled) else error


def _queued_s(tried: list[Tried]) -> float:
    return sum(each.queued_s for each in tried)


def _prompt(call: Call) -> str:
    assert call.prompt is not None
    return f"{call.prompt.name}@{call.prompt.version}"


def _claims(caller: Caller, labels: Labels) -> dict[str, str]:
    said = {"job": caller.job, "component": labels.component, "project": labels.project}
    return {name: value for name, value in said.items() if value is not None}


def _claimed(labels: object) -> Labels:
    """Give what labels that nobody has checked claim of component and project."""
    said = labels if isinstance(labels, Mapping) else {}
    component, project = said.get("component"), said.get("project")
    return Labels(
        component=bounded(component) if isinstance(component, str) else None,
        project=bounded(project) if isinstance(project, str) else None,
    )


def _traceparent(metadata: object) -> str | None:
    said = metadata.get("traceparent") if isinstance(metadata, Mapping) else None
    return said if isinstance(said, str) else None
