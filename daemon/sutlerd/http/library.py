"""The HTTP library's server, set up once: how long it waits, and what it says by itself.

What no handler of ours ever sees (a head that is no HTTP, a body's chunks that are none) is told
by ``tell``, like all else, instead of in the library's own plain words.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aiohttp import web

#: An idle connection is closed after this time, and one that is slow with its headers.
KEEP_ALIVE_S = 75.0
#: How long what a client still sends is read, so that it can read why it is refused.
_LEFTOVER_S = 0.2
_SHOWN = 200

#: Gives the answer to (the client's protocol, HTTP status, what is wrong).
Tell = Callable[[Any, int, str], "web.StreamResponse"]


def make_server(
    handle: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]],
    tell: Tell,
    loop: asyncio.AbstractEventLoop,
) -> Any:
    """Import the library, for some 0.3 s, and give what makes a protocol for each client.
    Any thread may call."""
    from aiohttp import http_exceptions, web

    class Protocol(web.RequestHandler):
        __slots__ = ()

        def handle_error(
            self,
            request: web.BaseRequest,
            status: int = 500,
            exc: BaseException | None = None,
            message: str | None = None,
        ) -> web.StreamResponse:
            if request.writer.output_size > 0:
                raise ConnectionError("an answer has begun already")
            if isinstance(exc, http_exceptions.LineTooLong):
                status, message = 431, "a line of the head is too long"
            answer = tell(self, status, in_words(message))
            answer.force_close()
            return answer

    class Server(web.Server):
        def __call__(self) -> web.RequestHandler:
            return Protocol(self, loop=self._loop, **self._kwargs)

    return Server(
        handle,
        loop=loop,
        handler_cancellation=True,
        access_log=None,
        logger=_quiet_logger(),
        keepalive_timeout=KEEP_ALIVE_S,
        lingering_time=_LEFTOVER_S,
        auto_decompress=False,
    )


def in_words(message: str | None) -> str:
    """Give the first line of what a parser says: the others quote the request."""
    first = (message or "").strip().partition("\n")[0].rstrip(":")[:_SHOWN]
    told = "".join(char if char.isprintable() else "?" for char in first)
    return f"this is no HTTP/1.1 request: {told or 'it cannot be read'}"


def path_in(data: bytes) -> str:
    """Give the path of a request line, whatever follows it; empty if there is none."""
    words = data.lstrip(b"\r\n").partition(b"\n")[0].split(b" ")
    target = words[1] if len(words) > 1 else b""
    return target.partition(b"?")[0].decode("latin-1").strip()


def target_host(request: web.BaseRequest) -> str:
    """Give the host that a request's target itself names, as one to a proxy does; else nothing."""
    if request.raw_path.startswith("/"):
        return ""
    return request.url.raw_authority if request.url.absolute else ""


def _quiet_logger() -> logging.Logger:
    """A logger that says nothing: what went wrong is told by our own log, without headers."""
    logger = logging.getLogger("sutlerd.http.library")
    logger.propagate = False
    logger.disabled = True
    return logger
