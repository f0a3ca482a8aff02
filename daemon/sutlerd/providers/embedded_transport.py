"""The transport to a server that the daemon itself starts, and starts again.

What is waited for here (a free slot, the start of the process) counts in no attempt's time
and has sent nothing; only the call's own end bounds it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import Self

from sutlerd.domain.ports import Clock
from sutlerd.providers.contract import AttemptFailed, Outcome, Verdict
from sutlerd.providers.embedded_child import Running
from sutlerd.providers.failures import not_sent
from sutlerd.providers.transport import Request, Response, StreamingResponse
from sutlerd.system.supervision import ChildUnavailable, Supervisor

#: What is answered without computing needs no slot.
_SLOTLESS_PATHS = frozenset({"/chat/completions/input_tokens", "/../tokenize"})
#: What must not be computed together with another of its kind (see ``EmbeddedProvider.embed``).
_ONE_AT_A_TIME_PATH = "/embeddings"
#: Kinds of failure that a dying process causes, and how soon its death is known then.
_CUT_OFF = frozenset({"connect", "reset", "cut"})
_DEATH_NOTICE_S = 0.5


class EmbeddedTransport:
    """See ``transport.Transport``. Owns the supervisor; ``attempt_s`` bounds one exchange from
    the moment a slot and the server are there."""

    def __init__(
        self, *, supervisor: Supervisor[Running], slots: int, attempt_s: float, clock: Clock
    ) -> None:
        self._supervisor = supervisor
        self._slots = asyncio.Semaphore(slots)
        self._embedding = asyncio.Lock()
        self._attempt_s = attempt_s
        self._clock = clock
        self._running: Running | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._supervisor.close()

    @property
    def running(self) -> Running | None:
        """The life that was used last; ``None`` before the first."""
        return self._running

    def open_connections(self) -> int:
        return 0 if self._running is None else self._running.transport.open_connections()

    async def send(self, request: Request, *, timeout_s: float) -> Response:
        async with self._turn(request, timeout_s) as (running, left_s):
            try:
                return await running.transport.send(request, timeout_s=left_s)
            except AttemptFailed as failure:
                raise await self._explained(failure, running) from None

    def stream(
        self, request: Request, *, timeout_s: float, silence_s: float
    ) -> AbstractAsyncContextManager[StreamingResponse]:
        return self._stream(request, timeout_s, silence_s)

    @asynccontextmanager
    async def _stream(
        self, request: Request, timeout_s: float, silence_s: float
    ) -> AsyncIterator[StreamingResponse]:
        async with AsyncExitStack() as stack:
            running, left_s = await stack.enter_async_context(self._turn(request, timeout_s))
            # The server closes after each stream, but says so only if asked to: taking the
            # connection for the next request would be a race.
            headers = {**request.headers, "connection": "close"}
            opened = running.transport.stream(
                replace(request, headers=headers), timeout_s=left_s, silence_s=silence_s
            )
            try:
                response = await stack.enter_async_context(opened)
            except AttemptFailed as failure:
                raise await self._explained(failure, running) from None
            yield replace(response, chunks=self._chunks(response, running))

    async def _chunks(self, response: StreamingResponse, running: Running) -> AsyncIterator[bytes]:
        try:
            async for data in response.chunks:
                yield data
        except AttemptFailed as failure:
            raise await self._explained(failure, running) from None

    @asynccontextmanager
    async def _turn(
        self, request: Request, timeout_s: float
    ) -> AsyncIterator[tuple[Running, float]]:
        """Wait for a slot, if the request needs one, and for the server; give the server and
        the seconds that the exchange may take. The slot is held until this is left."""
        until_s = self._clock.monotonic_s() + timeout_s
        waits_for = "has no free slot"
        async with AsyncExitStack() as stack:
            try:
                async with asyncio.timeout(timeout_s):
                    if request.path == _ONE_AT_A_TIME_PATH:
                        await stack.enter_async_context(self._embedding)
                    if request.path not in _SLOTLESS_PATHS:
                        await stack.enter_async_context(self._slots)
                    waits_for = "is not running"
                    running = self._running = await self._supervisor.life()
            except TimeoutError:
                message = f"the embedded model {waits_for} after {timeout_s:.1f} s"
                raise not_sent("timeout", message) from None
            except ChildUnavailable as reason:
                raise _unavailable(reason) from None
            yield running, min(self._attempt_s, until_s - self._clock.monotonic_s())

    async def _explained(self, failure: AttemptFailed, running: Running) -> AttemptFailed:
        """Say so if it was the server's end; whoever tries again then finds that known."""
        if failure.kind in _CUT_OFF and await self._supervisor.is_over(
            running, within_s=_DEATH_NOTICE_S
        ):
            failure.message = "the process of the embedded model ended during the call"
            failure.args = (failure.message,)
            failure.kind = "process_ended"
        return failure


def _unavailable(reason: ChildUnavailable) -> AttemptFailed:
    return AttemptFailed(
        f"the embedded model cannot be used: {reason.message}",
        verdict=Verdict.CLOSED if reason.lasting else Verdict.RETRY,
        outcome=Outcome.NOT_SENT,
        kind="process_unavailable",
        retry_after_s=None if reason.lasting else reason.retry_after_s,
    )
