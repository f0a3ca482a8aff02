"""The lean transport: our own HTTP/1.1 connections, for servers that answer quickly.

An SDK's millisecond a call, and even aiohttp's tenth of one, would be the bottleneck of a
node whose own inference server answers thousands of calls a second. This is what is left
when all is left out that such a call does not need: sessions, cookies, redirects, hooks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import Self

from sutlerd.domain.ports import Clock
from sutlerd.domain.record import quick
from sutlerd.providers.address import Address, Proxy
from sutlerd.providers.dialing import Dialer
from sutlerd.providers.failures import lost, not_sent, redirected
from sutlerd.providers.http_connection import HttpConnection
from sutlerd.providers.http_exchange import StreamExchange, WholeExchange
from sutlerd.providers.http_pool import MAX_CONNECTIONS, HttpPool
from sutlerd.providers.transport import LINGER_S, Request, Response, StreamingResponse

_new_response = quick(Response)

#: Spelt heads are kept by path; dialects have a handful.
_MAX_HEADS = 64


class LeanTransport:
    """See ``transport.Transport``. ``headers`` go with every request, the credential among
    them. An ``http`` address is asked of a ``proxy`` by its whole name, an ``https`` one is
    reached through a tunnel."""

    def __init__(
        self,
        address: Address,
        *,
        headers: Mapping[str, str],
        clock: Clock,
        proxy: Proxy | None = None,
        max_connections: int = MAX_CONNECTIONS,
    ) -> None:
        self._address = address
        self._headers = headers
        self._clock = clock
        self._pool = HttpPool(
            Dialer(address, proxy), address.authority, max_connections=max_connections
        )
        self._proxy = proxy
        self._heads: dict[tuple[str, str], bytes] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._pool.close()

    def open_connections(self) -> int:
        return len(self._pool)

    async def send(self, request: Request, *, timeout_s: float) -> Response:
        loop = asyncio.get_running_loop()
        until_s = loop.time() + timeout_s
        data = self._spell(request)
        connection = self._pool.take_idle() or await self._pool.connect(until_s)
        exchange = WholeExchange(loop)
        timer = loop.call_at(until_s, self._time_out, connection, timeout_s)
        connection.begin(exchange, data)
        try:
            status, headers, body = await exchange.done
        finally:
            timer.cancel()
            self._pool.give_back(connection)
        self._raise_unusable(status)
        return _new_response(
            status=status, headers=headers, body=body, arrived_unix_s=self._clock.unix_s()
        )

    def stream(
        self, request: Request, *, timeout_s: float, silence_s: float
    ) -> AbstractAsyncContextManager[StreamingResponse]:
        return _Stream(self, request, timeout_s=timeout_s, silence_s=silence_s)

    def _time_out(self, connection: HttpConnection, timeout_s: float) -> None:
        where = self._address.authority
        connection.fail(lost("timeout", f"{where} did not finish within {timeout_s:.1f} s"))

    def _spell(self, request: Request) -> bytes:
        """Spell a request; its head is spelt once a path."""
        if request.headers:
            head = self._spell_head(request)
        else:
            key = (request.method, request.path)
            known = self._heads.get(key)
            head = self._spell_head(request) if known is None else known
            if known is None and len(self._heads) < _MAX_HEADS:
                self._heads[key] = head
        return b"%b%d\r\n\r\n%b" % (head, len(request.body), request.body)

    def _spell_head(self, request: Request) -> bytes:
        """Give all up to the number of ``content-length``, which stands last.

        Raises ``ValueError`` for what would break out of its line: neither dialects nor the
        configuration may hold it.
        """
        address = self._address
        target = address.join(request.path)
        asked_of_proxy = {}
        if self._proxy is not None and not address.tls:
            target = f"http://{address.authority}{target}"
            if self._proxy.authorization:
                asked_of_proxy["proxy-authorization"] = self._proxy.authorization
        fields = {
            "host": address.authority,
            "user-agent": "sutlerd",
            "accept": "application/json, text/event-stream",
            # Nothing is gained by packing what never leaves the machine.
            "accept-encoding": "identity" if address.local else "gzip",
            "content-type": "application/json",
            **{name.lower(): value for name, value in self._headers.items()},
            **{name.lower(): value for name, value in request.headers.items()},
            **asked_of_proxy,
        }
        lines = [f"{request.method} {target} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in fields.items()]
        if " " in target or not all(line.isprintable() for line in lines):
            raise ValueError("a path or header with characters that may not be in one")
        return "\r\n".join([*lines, "content-length: "]).encode("latin-1")

    def _raise_unusable(self, status: int) -> None:
        """Raise for an answer that is no provider's."""
        if 300 <= status < 400:
            raise redirected(status, self._address.authority)
        if status == 407 and self._proxy is not None:
            proxy = self._proxy.address.authority
            raise not_sent("proxy", f"the proxy {proxy} refused the request: HTTP 407")


class _Stream:
    """The context of one stream."""

    def __init__(
        self, lean: LeanTransport, request: Request, *, timeout_s: float, silence_s: float
    ) -> None:
        self._lean = lean
        self._request = request
        self._timeout_s = timeout_s
        self._silence_s = silence_s
        self._finished = self._left = False

    async def __aenter__(self) -> StreamingResponse:
        lean, loop = self._lean, asyncio.get_running_loop()
        until_s = loop.time() + self._timeout_s
        data = lean._spell(self._request)
        connection = lean._pool.take_idle() or await lean._pool.connect(until_s)
        self._connection = connection
        self._timer = loop.call_at(until_s, lean._time_out, connection, self._timeout_s)
        self._exchange = exchange = StreamExchange(
            loop,
            silence_s=self._silence_s,
            pause=connection.pause_reading,
            resume=connection.resume_reading,
            on_silence=self._fell_silent,
        )
        connection.begin(exchange, data)
        try:
            status, headers = await exchange.head
            lean._raise_unusable(status)
        except BaseException:
            self._leave()
            raise
        return StreamingResponse(
            status=status,
            headers=headers,
            chunks=exchange,
            finish=self._finish,
            arrived_unix_s=lean._clock.unix_s(),
        )

    async def __aexit__(self, *_: object) -> None:
        if self._finished and not self._exchange.ended:
            loop = asyncio.get_running_loop()
            self._timer.cancel()
            self._timer = loop.call_later(LINGER_S, self._leave)
            self._exchange.on_over = lambda: loop.call_soon(self._leave)
        else:
            self._leave()

    def _finish(self) -> None:
        self._finished = True

    def _leave(self) -> None:
        # The lingering end may come from the answer and from the clock: a connection that is
        # given back twice would serve two exchanges.
        if self._left:
            return
        self._left = True
        self._timer.cancel()
        self._exchange.stop_clock()
        self._exchange.on_over = None
        self._lean._pool.give_back(self._connection)

    def _fell_silent(self) -> None:
        where = self._lean._address.authority
        message = f"{where} fell silent for {self._silence_s:.1f} s within its answer"
        self._connection.fail(lost("silence", message))
