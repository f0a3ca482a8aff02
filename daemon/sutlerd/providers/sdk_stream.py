"""One request through a loaded SDK: its head, its body in pieces, its failures."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, Self

from sutlerd.providers.contract import AttemptFailed
from sutlerd.providers.failures import bad_body, lost, not_sent, redirected
from sutlerd.providers.inflate import Inflater
from sutlerd.providers.sdk import Sdk
from sutlerd.providers.sdk_failures import judge_exception
from sutlerd.providers.sdk_http import PHASE, Phase
from sutlerd.providers.transport import (
    CONNECT_LIMIT_S,
    LINGER_S,
    MAX_STREAM_BYTES,
    Request,
    StreamingResponse,
)

if TYPE_CHECKING:
    from sutlerd.providers.transport_sdk import SdkTransport


class SdkStream:
    """The context of one request; its chunks are read by iterating over itself."""

    def __init__(
        self, transport: SdkTransport, request: Request, *, timeout_s: float, silence_s: float
    ) -> None:
        self._transport = transport
        self._request = request
        self._timeout_s = timeout_s
        self._silence_s = silence_s
        self._where = transport.address.authority
        self._finished = self._ended = False
        self._phase = Phase()

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
        # ``sdk_http`` has read what is no success, as far as it matters.
        read = self._http.is_closed
        self._raw: AsyncIterator[bytes] = (
            _one_piece(self._http.content) if read else self._http.aiter_raw()
        )
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
        if self._finished and not self._ended:
            self._transport.linger(self._let_end())
        else:
            await self._http.aclose()

    async def _head(self) -> Any:
        """Send the request; give the answer whose body is not read yet."""
        phase = self._phase
        phase.connecting = True
        held = PHASE.set(phase)
        try:
            async with asyncio.timeout_at(self._until_s):
                sdk = await self._transport.loaded()
                phase.connecting = False
                return await self._ask(sdk)
        except TimeoutError:
            if phase.connecting:
                message = f"no connection to {self._where} in {self._timeout_s:.1f} s"
                raise not_sent("connect", message) from None
            raise self._too_late() from None
        finally:
            PHASE.reset(held)

    async def _ask(self, sdk: Sdk) -> Any:
        request = self._request
        options = {
            "headers": {"content-type": "application/json", **request.headers},
            # aiohttp bounds names, TCP, proxy and TLS together by the pool's limit.
            "timeout": sdk.make_timeout(None, pool=CONNECT_LIMIT_S),
        }
        as_it_is = {"cast_to": sdk.response_type, "options": options}
        try:
            if request.method == "GET":
                return await sdk.client.get(request.path, **as_it_is)
            return await sdk.client.post(request.path, content=request.body, **as_it_is)
        except sdk.status_error as error:
            return error.response  # type: ignore[attr-defined]
        except sdk.failures as error:
            raise self._judge(error) from None

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
        except StopAsyncIteration:
            self._ended = True
            raise
        except TimeoutError:
            raise self._too_late() if self._until_s <= silent_s else self._silent() from None
        except self._transport.failures as error:
            raise self._judge(error) from None

    def _judge(self, error: Exception) -> AttemptFailed:
        transport = self._transport
        return judge_exception(
            error,
            transport.address,
            proxy=transport.proxy,
            connecting=self._phase.connecting,
        )

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


async def _one_piece(data: bytes) -> AsyncIterator[bytes]:
    if data:
        yield data
