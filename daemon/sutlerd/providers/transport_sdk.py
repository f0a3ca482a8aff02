"""The SDK transport: requests go through a provider's own package, bytes come back to us.

The official SDKs follow what changes monthly: authentication, versions, headers. Everything
else of theirs is off: retries, environment look-ups, telemetry, parsing. ``SdkTransport``
knows what the SDKs have in common; ``sdk_openai`` and its like load one of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Self

from sutlerd.domain.ports import Clock, EventLog
from sutlerd.providers.address import Address
from sutlerd.providers.contract import AttemptFailed, Verdict
from sutlerd.providers.failures import bad_body, lost, not_sent, redirected
from sutlerd.providers.inflate import Inflater
from sutlerd.providers.sdk_failures import judge_exception
from sutlerd.providers.transport import (
    CONNECT_LIMIT_S,
    LINGER_S,
    MAX_BODY_BYTES,
    MAX_STREAM_BYTES,
    Request,
    Response,
    StreamingResponse,
)

#: How often the loop is asked whether it still turns while a package is imported.
_STALL_PROBE_S = 0.005


@dataclass(frozen=True, slots=True, kw_only=True)
class Sdk:
    """A loaded package. ``client`` has the SDKs' common low-level ``post`` and ``get``, with
    retries off, over ``sdk_http``'s client. ``status_error`` is what it raises for an answer
    that is no success (with ``response``); ``failures`` is all else that it may raise.
    ``response_type`` is what to ask it for to be given the HTTP answer as it is."""

    client: Any
    status_error: type[Exception]
    failures: tuple[type[Exception], ...]
    response_type: type[Any]
    make_timeout: Callable[..., Any]


class SdkTransport:
    """See ``transport.Transport``. ``load`` imports the package and makes its client: it runs
    once, in a thread, at the first request. ``package`` names it in the log."""

    def __init__(
        self,
        address: Address,
        *,
        package: str,
        load: Callable[[], Sdk],
        clock: Clock,
        log: EventLog,
    ) -> None:
        self.address = address
        self.clock = clock
        #: Requests whose answers are being read.
        self.in_flight = 0
        #: What a loaded package may raise.
        self.failures: tuple[type[Exception], ...] = ()
        self._package = package
        self._load = load
        self._log = log
        self._loading: asyncio.Task[Sdk] | None = None
        self._lingering: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._lingering:
            task.cancel()
        await asyncio.gather(*self._lingering, return_exceptions=True)
        if self._loading is not None:
            (loaded,) = await asyncio.gather(self._loading, return_exceptions=True)
            if isinstance(loaded, Sdk):
                await loaded.client.close()

    def open_connections(self) -> int:
        """Count the connections in use; the packages do not tell of idle ones."""
        return self.in_flight + len(self._lingering)

    async def send(self, request: Request, *, timeout_s: float) -> Response:
        body = bytearray()
        async with self.stream(request, timeout_s=timeout_s, silence_s=timeout_s) as answer:
            async for data in answer.chunks:
                body += data
                if len(body) > MAX_BODY_BYTES:
                    raise bad_body(f"a body over {MAX_BODY_BYTES} bytes")
            return Response(
                status=answer.status,
                headers=answer.headers,
                body=bytes(body),
                arrived_unix_s=answer.arrived_unix_s,
            )

    def stream(
        self, request: Request, *, timeout_s: float, silence_s: float
    ) -> AbstractAsyncContextManager[StreamingResponse]:
        return _Stream(self, request, timeout_s=timeout_s, silence_s=silence_s)

    def linger(self, end: Coroutine[Any, Any, None]) -> None:
        """Let an answer end in the background."""
        task = asyncio.create_task(end, name=f"end of an answer of {self.address.authority}")
        self._lingering.add(task)
        task.add_done_callback(self._lingering.discard)

    # --- for _Stream ------------------------------------------------------------------

    async def loaded(self) -> Sdk:
        """Give the client; load the package at the first call, once for all who wait."""
        if self._loading is None:
            self._loading = asyncio.create_task(self._load_off_loop(), name=f"load {self._package}")
        try:
            # Shielded: one call that is cancelled must not stop the loading for the others.
            sdk = await asyncio.shield(self._loading)
        except ImportError as error:
            raise not_sent(
                "sdk",
                f"the package {self._package} cannot be loaded ({error}): install it, or set "
                "transport: lean",
                verdict=Verdict.CLOSED,
            ) from None
        self.failures = sdk.failures
        return sdk

    async def _load_off_loop(self) -> Sdk:
        started_s = self.clock.monotonic_s()
        probe = asyncio.create_task(_longest_stall_s(), name="stall probe")
        try:
            return await asyncio.to_thread(self._load)
        finally:
            probe.cancel()
            (stall_s,) = await asyncio.gather(probe)
            self._log.event(
                "info",
                "sdk_loaded",
                package=self._package,
                took_ms=round((self.clock.monotonic_s() - started_s) * 1000),
                loop_stall_ms=round(stall_s * 1000),
            )


class _Stream:
    """The context of one request; its chunks are read by iterating over itself."""

    def __init__(
        self, transport: SdkTransport, request: Request, *, timeout_s: float, silence_s: float
    ) -> None:
        self._transport = transport
        self._request = request
        self._timeout_s = timeout_s
        self._silence_s = silence_s
        self._where = transport.address.authority
        self._finished = False

    async def __aenter__(self) -> StreamingResponse:
        self._loop = asyncio.get_running_loop()
        self._until_s = self._loop.time() + self._timeout_s
        self._http = await self._head()
        status = self._http.status_code
        headers = {name.lower(): value for name, value in self._http.headers.items()}
        try:
            if 300 <= status < 400:
                raise redirected(status, self._where)
            self._inflater = Inflater(headers.get("content-encoding", ""), MAX_STREAM_BYTES)
        except ValueError as error:
            await self._http.aclose()
            raise bad_body(f"the body cannot be used: {error}") from None
        except AttemptFailed:
            await self._http.aclose()
            raise
        self._raw: AsyncIterator[bytes] = self._http.aiter_raw()
        self._transport.in_flight += 1
        return StreamingResponse(
            status=status,
            headers=headers,
            chunks=self,
            finish=self._finish,
            arrived_unix_s=self._transport.clock.unix_s(),
        )

    async def __aexit__(self, *_: object) -> None:
        self._transport.in_flight -= 1
        if self._finished and not self._http.is_stream_consumed:
            self._transport.linger(self._let_end())
        else:
            await self._http.aclose()

    async def _head(self) -> Any:
        """Send the request; give the answer whose body is not read yet."""
        sent = False
        try:
            async with asyncio.timeout_at(self._until_s):
                sdk = await self._transport.loaded()
                sent = True
                return await self._ask(sdk)
        except TimeoutError:
            if not sent:
                raise not_sent("timeout", "the SDK could not be loaded in time") from None
            raise self._too_late() from None

    async def _ask(self, sdk: Sdk) -> Any:
        request = self._request
        # A little less than all, so that a dead host ends as one that was never reached.
        connect_s = min(CONNECT_LIMIT_S, self._timeout_s * 0.95)
        options = {
            "headers": {"content-type": "application/json", **request.headers},
            "timeout": sdk.make_timeout(None, connect=connect_s, pool=connect_s),
        }
        as_it_is = {"cast_to": sdk.response_type, "options": options}
        try:
            if request.method == "GET":
                return await sdk.client.get(request.path, **as_it_is)
            return await sdk.client.post(request.path, content=request.body, **as_it_is)
        except sdk.status_error as error:
            return error.response  # type: ignore[attr-defined]
        except sdk.failures as error:
            raise judge_exception(error, self._transport.address) from None

    # --- the body ---------------------------------------------------------------------

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        while True:
            data = await self._next_raw()
            try:
                data = self._inflater.feed(data)
            except ValueError as error:
                raise bad_body(f"the body cannot be used: {error}") from None
            if data:
                return data

    async def _next_raw(self) -> bytes:
        silent_s = self._loop.time() + self._silence_s
        try:
            async with asyncio.timeout_at(min(self._until_s, silent_s)):
                return await anext(self._raw)
        except TimeoutError:
            raise self._too_late() if self._until_s <= silent_s else self._silent() from None
        except self._transport.failures as error:
            raise judge_exception(error, self._transport.address) from None

    def _finish(self) -> None:
        self._finished = True

    async def _let_end(self) -> None:
        """Read what little may follow the last event, so that the connection is kept."""
        broken: tuple[type[Exception], ...] = (TimeoutError, *self._transport.failures)
        try:
            async with asyncio.timeout(LINGER_S):
                async for _ in self._raw:
                    pass
        except broken:
            pass  # it is closed instead
        finally:
            await self._http.aclose()

    def _too_late(self) -> AttemptFailed:
        return lost("timeout", f"{self._where} did not finish within {self._timeout_s:.1f} s")

    def _silent(self) -> AttemptFailed:
        message = f"{self._where} fell silent for {self._silence_s:.1f} s within its answer"
        return lost("silence", message)


async def _longest_stall_s() -> float:
    """Watch the loop until cancelled; give the longest time that it did not turn."""
    loop = asyncio.get_running_loop()
    longest_s = 0.0
    try:
        while True:
            before_s = loop.time()
            await asyncio.sleep(_STALL_PROBE_S)
            longest_s = max(longest_s, loop.time() - before_s - _STALL_PROBE_S)
    except asyncio.CancelledError:
        return longest_s
