"""The HTTP client under an SDK: aiohttp, with our limits and none of the SDK's reports.

Imports httpx2 and an SDK only when called, which is in a thread.
"""

from __future__ import annotations

import logging
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sutlerd.providers.address import Address, Proxy
from sutlerd.providers.dialing import make_trust
from sutlerd.providers.inflate import Inflater
from sutlerd.providers.transport import IDLE_LIMIT_S, MAX_ERROR_BODY_BYTES

if TYPE_CHECKING:
    import ssl

    import aiohttp
    import httpx2

_MAX_CONNECTIONS = 1000
_LOGGERS = ("openai", "anthropic", "httpx2", "httpcore2", "aiohttp")
#: Reports on this machine and on what was tried.
_DROPPED_PREFIX = "x-stainless-"


@dataclass(slots=True)
class Phase:
    """How far one request has come: until it is connected, surely nothing was sent."""

    connecting: bool = False


#: Of the request that the current task makes.
PHASE: ContextVar[Phase | None] = ContextVar("phase", default=None)


def make_http_client(
    base: type[httpx2.AsyncClient], address: Address, proxy: Proxy | None
) -> httpx2.AsyncClient:
    """Make a client of ``base``, an SDK's aiohttp client class. Reads the trust store."""
    import httpx2

    # Variables such as OPENAI_LOG make the packages log requests with their prompts.
    for name in _LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)

    trust = make_trust()

    class BoundedClient(base):  # type: ignore[misc, valid-type]
        def _init_transport(self, **settings: Any) -> httpx2.AsyncBaseTransport:
            return _with_our_session(super()._init_transport(**settings), trust)

        def _init_proxy_transport(
            self, proxy: httpx2.Proxy, **settings: Any
        ) -> httpx2.AsyncBaseTransport:
            return _with_our_session(super()._init_proxy_transport(proxy, **settings), trust)

        async def send(self, request: httpx2.Request, **options: Any) -> httpx2.Response:
            """Send; give successes unread, and of all else the first words."""
            for name in [n for n in request.headers if n.lower().startswith(_DROPPED_PREFIX)]:
                del request.headers[name]
            options.update(stream=True, follow_redirects=False)
            response: httpx2.Response = await super().send(request, **options)
            self.cookies.clear()
            if response.is_success:
                return response
            try:
                body = await _first_words(response)
            finally:
                await response.aclose()
            headers = [
                (name, value)
                for name, value in response.headers.multi_items()
                if name.lower() not in ("content-encoding", "content-length", "transfer-encoding")
            ]
            return httpx2.Response(
                response.status_code, headers=headers, content=body, request=request
            )

    through = None
    if proxy is not None:
        headers = {"proxy-authorization": proxy.authorization} if proxy.authorization else {}
        through = httpx2.Proxy(str(proxy.address), headers=headers)
    client: httpx2.AsyncClient = BoundedClient(
        verify=trust,
        trust_env=False,
        proxy=through,
        follow_redirects=False,
        headers={"accept-encoding": accepted_encoding(address)},
    )
    return client


def _with_our_session(transport: Any, trust: ssl.SSLContext) -> httpx2.AsyncBaseTransport:
    """Give the transport aiohttp's session as we want it: it makes it at the first request."""
    transport.client = lambda: _make_session(trust)
    made: httpx2.AsyncBaseTransport = transport
    return made


def _make_session(trust: ssl.SSLContext) -> aiohttp.ClientSession:
    import aiohttp

    async def connecting(*_: object) -> None:
        phase = PHASE.get()
        if phase is not None:
            phase.connecting = True

    async def connected(*_: object) -> None:
        phase = PHASE.get()
        if phase is not None:
            phase.connecting = False

    watch = aiohttp.TraceConfig()
    for begins in (watch.on_connection_queued_start, watch.on_connection_create_start):
        begins.append(connecting)
    for ends in (watch.on_connection_queued_end, watch.on_connection_create_end):
        ends.append(connected)
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(
            limit=_MAX_CONNECTIONS, keepalive_timeout=IDLE_LIMIT_S, ssl=trust
        ),
        cookie_jar=aiohttp.DummyCookieJar(),
        trace_configs=[watch],
    )


def accepted_encoding(address: Address) -> str:
    """Give what is asked for: nothing is gained by packing what never leaves the machine."""
    return "identity" if address.local else "gzip"


async def _first_words(response: httpx2.Response) -> bytes:
    """Read an answer that is an error as far as its words matter."""
    body = bytearray()
    try:
        inflater = Inflater(response.headers.get("content-encoding", ""), MAX_ERROR_BODY_BYTES)
        async for data in response.aiter_raw():
            body += inflater.feed(data)
    except ValueError:
        pass  # too long or broken: what there is has to do
    return bytes(body)
