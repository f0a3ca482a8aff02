"""From a call that has ended to its spans: one for the call, one for each attempt.

Made after the call's end, from what is noted anyway, and handed to a queue: a call waits for
none of this. What a name means stands in ``telemetry.conventions``.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from sutlerd.domain.call import Call, ChatRequest, Labels, Route
from sutlerd.domain.caller import Caller
from sutlerd.domain.ports import Clock
from sutlerd.domain.record import record
from sutlerd.domain.reply import Embedded, Reply
from sutlerd.domain.usage import Usage
from sutlerd.pipeline.trace_content import said, told
from sutlerd.pipeline.tried import ANSWERED, Tried
from sutlerd.telemetry import conventions as names
from sutlerd.telemetry.spans import MAX_TEXT_CHARS, Event, Span, SpanKind, Value
from sutlerd.telemetry.trace_context import TraceContext, read_traceparent

_TRACE_ID_BYTES: Final = 16
_SPAN_ID_BYTES: Final = 8
_NS: Final = 1_000_000_000
_PORTS: Final = {"http": 80, "https": 443}

Attributes = dict[str, Value]


@record
class Sampling:
    """Percentages; a caller's own decision in its ``traceparent`` goes before ``calls_pct``."""

    calls_pct: float
    hits_pct: float
    content: bool


@record
class Vendor:
    """What stands behind a provider's name; no address for what runs in the daemon's care."""

    name: str
    address: str | None = None
    port: int | None = None


def vendor_of(kind: str, base_url: str | None) -> Vendor:
    name = names.VENDORS.get(kind, kind)
    if base_url is None:
        return Vendor(name=name)
    split = urlsplit(base_url)
    return Vendor(name=name, address=split.hostname, port=split.port or _PORTS.get(split.scheme))


@record
class Ending:
    """A call as it ended. ``outcome`` is ``ok``, an error's type, or ``cancelled``; the sums of
    tokens are over all attempts that answered. What was refused before it was a call may have
    neither id nor route."""

    operation: str
    request_id: str | None
    caller: Caller
    labels: Labels
    route: Route | None
    started_s: float
    outcome: str
    tried: Sequence[Tried]
    traceparent: str | None = None
    call: Call | None = None
    reply: Reply | Embedded | None = None
    cost_nanousd: int | None = None
    queued_s: float = 0.0
    bucket: str | None = None


class Tracer:
    """``put`` takes spans to be sent. ``vendors`` are those of the configuration in force."""

    def __init__(
        self,
        sampling: Sampling,
        put: Callable[[Sequence[Span]], None],
        clock: Clock,
        *,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.vendors: Mapping[str, Vendor] = {}
        self._sampling = sampling
        self._put = put
        self._clock = clock
        self._chance = chance
        self._hits_a_span = _one_in(sampling.hits_pct)
        self._hits_until_span = self._hits_a_span

    def ended(self, ending: Ending) -> str | None:
        """Make the spans of a call; give its trace's id, or ``None`` where it is not traced."""
        parent = read_traceparent(ending.traceparent)
        if not self._wants(parent):
            return None
        origin_s = self._clock.unix_s() - self._clock.monotonic_s()
        own = self._own_span(ending, parent, origin_s)
        attempts = [
            self._attempt_span(tried, ending, own, origin_s)
            for tried in ending.tried
            if tried.sent_s is not None
        ]
        self._put([*attempts, own])
        return own.trace_id.hex()

    def hit_is_due(self) -> bool:
        """Count one answer from the cache; tell whether it is one that gets a span."""
        self._hits_until_span -= 1
        if self._hits_until_span > 0:
            return False
        self._hits_until_span = self._hits_a_span
        return self._hits_a_span > 0

    def hit(
        self, uid: int, provider: str, model: str, *, request_id: str | None, traceparent: object
    ) -> None:
        """Make the span of an answer from the cache that is due one."""
        parent = read_traceparent(traceparent)
        if parent is not None and not parent.sampled:
            return
        now_ns = int(self._clock.unix_s() * _NS)
        route = Route(provider=provider, model=model)
        attributes = self._place(names.CHAT, route)
        attributes |= {names.RESPONSE_MODEL: model, names.CACHED: True, names.UID: uid}
        attributes |= {names.COST_NANOUSD: 0, names.OUTCOME: ANSWERED}
        if request_id is not None:
            attributes[names.REQUEST_ID] = request_id
        trace_id, span_id, parent_id = _ids(parent)
        self._put(
            [
                Span(
                    name=_name(names.CHAT, route),
                    kind=SpanKind.SERVER,
                    trace_id=trace_id,
                    span_id=span_id,
                    parent_id=parent_id,
                    start_unix_ns=now_ns,
                    end_unix_ns=now_ns,
                    attributes=attributes,
                )
            ]
        )

    def _wants(self, parent: TraceContext | None) -> bool:
        if parent is not None:
            return parent.sampled
        return self._chance() * 100 < self._sampling.calls_pct

    def _own_span(self, ending: Ending, parent: TraceContext | None, origin_s: float) -> Span:
        caller, labels = ending.caller, ending.labels
        attributes = self._place(ending.operation, ending.route)
        attributes |= _known(
            {
                names.REQUEST_ID: ending.request_id,
                names.UID: caller.uid,
                names.JOB: caller.job,
                names.COMPONENT: labels.component,
                names.PROJECT: labels.project,
                names.QUEUED_MS: round(ending.queued_s * 1000, 3),
                names.BUCKET: ending.bucket,
                names.ATTEMPTS: sum(tried.sent_s is not None for tried in ending.tried),
                names.COST_NANOUSD: ending.cost_nanousd,
                names.CACHED: False,
                names.OUTCOME: ending.outcome,
            }
        )
        if ending.call is not None:
            attributes |= self._asked(ending.call)
        attributes |= self._brought(ending.reply)
        failed = None if ending.outcome == ANSWERED else ending.outcome
        if failed is not None:
            attributes[names.ERROR_TYPE] = failed
        trace_id, span_id, parent_id = _ids(parent)
        return Span(
            name=_name(ending.operation, ending.route),
            kind=SpanKind.SERVER,
            trace_id=trace_id,
            span_id=span_id,
            parent_id=parent_id,
            start_unix_ns=_ns(origin_s + ending.started_s),
            end_unix_ns=_ns(origin_s + self._clock.monotonic_s()),
            attributes=attributes,
            events=tuple(
                Event(
                    name=names.PASSED_OVER,
                    unix_ns=_ns(origin_s + tried.ended_s),
                    attributes={
                        names.ENDPOINT: tried.route.provider,
                        names.REQUEST_MODEL: tried.route.model,
                        names.OUTCOME: tried.outcome,
                    },
                )
                for tried in ending.tried
                if tried.sent_s is None
            ),
            failed=failed,
        )

    def _attempt_span(self, tried: Tried, ending: Ending, own: Span, origin_s: float) -> Span:
        assert tried.sent_s is not None
        attributes = self._place(ending.operation, tried.route)
        first_s = None if tried.heard_s is None else round(tried.heard_s - tried.sent_s, 6)
        failed = None if tried.outcome == ANSWERED else tried.outcome
        attributes |= _known(
            {
                names.RESPONSE_TIME_TO_FIRST_CHUNK: first_s,
                names.HTTP_RESPONSE_STATUS_CODE: tried.status,
                names.COST_NANOUSD: tried.cost_nanousd,
                names.ERROR_TYPE: failed,
            }
        )
        attributes |= self._brought(tried.brought, content=False)
        return Span(
            name=_name(ending.operation, tried.route),
            kind=SpanKind.CLIENT,
            trace_id=own.trace_id,
            span_id=os.urandom(_SPAN_ID_BYTES),
            parent_id=own.span_id,
            start_unix_ns=_ns(origin_s + tried.sent_s),
            end_unix_ns=_ns(origin_s + tried.ended_s),
            attributes=attributes,
            failed=failed,
        )

    def _place(self, operation: str, route: Route | None) -> Attributes:
        if route is None:
            return {names.OPERATION_NAME: operation}
        vendor = self.vendors.get(route.provider)
        return _known(
            {
                names.OPERATION_NAME: operation,
                names.PROVIDER_NAME: route.provider if vendor is None else vendor.name,
                names.ENDPOINT: route.provider,
                names.REQUEST_MODEL: route.model,
                names.SERVER_ADDRESS: None if vendor is None else vendor.address,
                names.SERVER_PORT: None if vendor is None else vendor.port,
            }
        )

    def _asked(self, call: Call) -> Attributes:
        request = call.request
        assert isinstance(request, ChatRequest)
        shaped = request.json_mode or request.schema is not None
        asked: dict[str, Value | None] = {
            names.LANE: call.lane,
            names.REQUEST_MAX_TOKENS: request.max_tokens,
            names.REQUEST_TEMPERATURE: _float(request.temperature),
            names.REQUEST_TOP_P: _float(request.top_p),
            names.REQUEST_SEED: request.seed,
            names.REQUEST_STREAM: call.stream,
            names.OUTPUT_TYPE: "json" if shaped else None,
            names.PROMPT_NAME: None if call.prompt is None else call.prompt.title,
        }
        if self._sampling.content:
            asked[names.INPUT_MESSAGES] = said(request.messages)
        return _known(asked)

    def _brought(self, brought: Reply | Embedded | None, *, content: bool = True) -> Attributes:
        if brought is None:
            return {}
        attributes: dict[str, Value | None] = {
            names.RESPONSE_MODEL: brought.model[:MAX_TEXT_CHARS],
            **_usage(brought.usage),
        }
        if isinstance(brought, Reply):
            finish = brought.raw_finish_reason or brought.finish_reason
            attributes[names.RESPONSE_FINISH_REASONS] = (finish[:MAX_TEXT_CHARS],)
            if content and self._sampling.content:
                attributes[names.OUTPUT_MESSAGES] = told(brought)
        return _known(attributes)


def _one_in(percent: float) -> int:
    return round(100 / percent) if percent > 0 else 0


def _ids(parent: TraceContext | None) -> tuple[bytes, bytes, bytes]:
    """Give the ids of a trace, of a new span in it, and of that one's parent."""
    span_id = os.urandom(_SPAN_ID_BYTES)
    if parent is None:
        return os.urandom(_TRACE_ID_BYTES), span_id, b""
    return parent.trace_id, span_id, parent.span_id


def _usage(usage: Usage) -> dict[str, int | None]:
    return {
        names.USAGE_INPUT_TOKENS: usage.tokens_in,
        names.USAGE_OUTPUT_TOKENS: usage.tokens_out,
        names.USAGE_CACHE_READ_INPUT_TOKENS: usage.cached_tokens_in,
        names.USAGE_CACHE_CREATION_INPUT_TOKENS: usage.cache_write_tokens_in,
        names.USAGE_REASONING_OUTPUT_TOKENS: usage.reasoning_tokens_out,
    }


def _known(attributes: Mapping[str, Any]) -> Attributes:
    return {name: value for name, value in attributes.items() if value is not None}


def _name(operation: str, route: Route | None) -> str:
    return operation if route is None else f"{operation} {route.model}"


def _float(number: float | None) -> float | None:
    return None if number is None else float(number)


def _ns(unix_s: float) -> int:
    return int(unix_s * _NS)
