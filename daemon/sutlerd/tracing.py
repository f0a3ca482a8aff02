"""Traces, put together: a tracer in front of a queue in front of a collector.

Nothing is begun before the first span, and nothing heavy loaded before the first one is sent.
"""

from __future__ import annotations

import asyncio
import os
import socket
from contextlib import AsyncExitStack
from dataclasses import dataclass

from sutlerd import __version__
from sutlerd.config.schema_llm import TracingConfig
from sutlerd.domain.ports import Clock
from sutlerd.pipeline.tracing import Sampling, Tracer
from sutlerd.telemetry import conventions as names
from sutlerd.telemetry.logs import Log
from sutlerd.telemetry.span_queue import Courier, SpanQueue
from sutlerd.telemetry.spans import Value


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracing:
    """What makes spans, and where they wait."""

    tracer: Tracer
    queue: SpanQueue


def open_tracing(
    stack: AsyncExitStack, settings: TracingConfig, *, clock: Clock, log: Log
) -> Tracing | None:
    """Begin to trace, if that is wanted; ``stack`` ends it, after at most two seconds."""
    if not settings.enabled:
        return None

    def courier() -> Courier:
        # On the queue's thread: HTTP and the protocol's classes take their time to load.
        from sutlerd.telemetry.collector import DEFAULT_ENDPOINT, Collector, Destination

        destination = Destination(
            endpoint=settings.endpoint or DEFAULT_ENDPOINT,
            headers={n: value.reveal() for n, value in settings.headers.items() if value.is_set},
        )
        # The log's mask of the moment: a reload may bring new secrets.
        return Collector(destination, resource=_resource(), mask=lambda t: log.redactor.text(t))

    for name, value in settings.headers.items():
        if not value.is_set:
            said = f"sent without the header {name}: {value.origin} is not set"
            log.event("warning", "tracing", said=said)
    queue = SpanQueue(courier, log)
    sampling = Sampling(
        calls_pct=settings.sample_pct,
        hits_pct=settings.hit_sample_pct,
        content=settings.capture_content,
    )

    async def close() -> None:
        await asyncio.to_thread(queue.close)

    stack.push_async_callback(close)
    return Tracing(tracer=Tracer(sampling, queue.put, clock), queue=queue)


def _resource() -> dict[str, Value]:
    return {
        names.SERVICE_NAME: "sutlerd",
        names.SERVICE_VERSION: __version__,
        names.SERVICE_INSTANCE_ID: f"{socket.gethostname()}:{os.getpid()}",
        names.HOST_NAME: socket.gethostname(),
    }
