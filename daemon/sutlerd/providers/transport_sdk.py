"""The SDK transport: requests go through a provider's own package, bytes come back to us.

The official SDKs follow what changes monthly: authentication, versions, headers. Everything
else of theirs is off: retries, environment look-ups, telemetry, parsing. ``SdkTransport``
knows what the SDKs have in common; ``sdk_openai`` and its like load one of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from typing import Any, Self

from sutlerd.domain.ports import Clock, EventLog
from sutlerd.providers.address import Address, Proxy
from sutlerd.providers.contract import Verdict
from sutlerd.providers.failures import bad_body, not_sent
from sutlerd.providers.sdk import Sdk
from sutlerd.providers.sdk_stream import SdkStream
from sutlerd.providers.transport import MAX_BODY_BYTES, Request, Response, StreamingResponse
from sutlerd.system.aside import run_aside

#: How often the loop is asked whether it still turns while a package is imported.
_STALL_PROBE_S = 0.005


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
        proxy: Proxy | None = None,
    ) -> None:
        self.address = address
        #: For messages only: ``load`` makes a client that goes through it.
        self.proxy = proxy
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
            # One that is under way goes on in its thread, and makes a client that never connects.
            self._loading.cancel()
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
        return SdkStream(self, request, timeout_s=timeout_s, silence_s=silence_s)

    def linger(self, end: Coroutine[Any, Any, None]) -> None:
        """Let an answer end in the background."""
        task = asyncio.create_task(end, name=f"end of an answer of {self.address.authority}")
        self._lingering.add(task)
        task.add_done_callback(self._lingering.discard)

    # --- for SdkStream ------------------------------------------------------------------

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
            loaded = await run_aside(self._load, name=f"load {self._package}")
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
        return loaded


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
