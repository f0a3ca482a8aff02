"""The HTTP library's part: from its requests to ``Ask``, from ``Page`` and ``Stream`` to bytes.

Loaded when the first client comes. Everything is checked in the order in which it costs:
head, who asks, route, length, body. What a route answers is decided elsewhere.
"""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, cast

from sutlerd.domain.caller import Caller
from sutlerd.domain.errors import CallError, InternalError, InvalidParams, ShuttingDown
from sutlerd.http.calls import refused
from sutlerd.http.client import Client, Inner
from sutlerd.http.door import Ask, Door, Manners, Page, Refusal, Stream
from sutlerd.http.entry import bearer, browsers_token, judge
from sutlerd.http.headers import options
from sutlerd.http.house import House
from sutlerd.http.library import make_server, path_in, target_host
from sutlerd.http.manners import manners_at
from sutlerd.system import strict

if TYPE_CHECKING:
    from aiohttp import web

#: How long a request's body may bring nothing.
BODY_SILENCE_S = 30.0
_SHOWN = 100
_WITH_BODY = ("POST", "PUT", "PATCH")
#: A browser is to take nothing here for what it is not, and to show it in no other's frame.
_ALWAYS = {"Server": "sutlerd", "X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY"}


class Tokens(Protocol):
    def caller_of(self, token: str) -> Caller | None:
        """Give whose token this is; ``None`` for nobody's, or for who may not call."""


class Site:
    """The routes and the way to them. ``doors`` makes all routes of all groups, in a thread,
    when the first client comes."""

    def __init__(
        self,
        house: House,
        *,
        doors: Callable[[], Sequence[Door]],
        tokens: Tokens,
        max_body_bytes: int,
    ) -> None:
        self._house = house
        self._tokens = tokens
        self._max_body_bytes = max_body_bytes
        self._make_doors = doors
        self._doors: dict[str, dict[str, Door]] = {}
        self._clients: dict[Any, Client] = {}
        self._server: Any = None

    async def load(self) -> None:
        """Import the HTTP library, off the loop's way."""
        if self._server is None:
            loop = asyncio.get_running_loop()
            server, doors = await asyncio.to_thread(
                lambda: (make_server(self._handle, self._misread, loop), self._make_doors())
            )
            for door in doors:
                self._doors.setdefault(door.path, {})[door.method] = door
            self._server = server

    def inner(self, client: Client) -> Inner:
        """Make the library's protocol for a client."""
        protocol = self._server()
        self._clients[protocol] = client
        return cast(Inner, protocol)

    def left(self, protocol: Any) -> None:
        self._clients.pop(protocol, None)

    # -- one request

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        client = self._clients[request.protocol]
        client.served(begins=True)
        door, rest = self._find(request)
        manners = (door.manners if door is not None else None) or manners_at(
            request.path, request.headers
        )
        try:
            found = self._admit(request, client, door)
            if isinstance(found, Refusal):
                return await self._send(request, client, manners.refusal(found))
            assert door is not None
            return await self._serve(request, client, found, door, rest, manners)
        finally:
            client.served(begins=False)
            client.holds_body(0)

    def _find(self, request: web.BaseRequest) -> tuple[Door | None, str]:
        """Give the door of this path, and what follows its path; of this method if it has it."""
        path = request.path
        methods, rest = self._doors.get(path), ""
        if methods is None:
            long = [each for each in self._doors if each[-1] == "/" and path.startswith(each)]
            if long:
                best = max(long, key=len)
                methods, rest = self._doors[best], path[len(best) :]
                if best == "/" or not rest:
                    methods = None
        if methods is None:
            return None, ""
        method = "GET" if request.method == "HEAD" else request.method
        return methods.get(method) or next(iter(methods.values())), rest

    def _admit(
        self, request: web.BaseRequest, client: Client, door: Door | None
    ) -> Caller | Refusal:
        """Judge a request by its head; nothing of its body has been looked at."""
        headers = request.headers
        refusal = judge(
            request.method,
            headers,
            headers.getall,
            authority=target_host(request),
            over_tcp=client.over_tcp,
        )
        if refusal is not None and (door is not None or refusal.kind != "media_type"):
            return refusal
        caller: Caller | None = client.caller
        if client.over_tcp and not (door is not None and door.is_open):
            token = bearer(headers)
            if token is None and door is not None and door.for_browsers:
                token = browsers_token(headers, request.query)
            caller = self._tokens.caller_of(token) if token else None
            if caller is None:
                self._house.log.event("warning", "refused", why="no good token over HTTP")
                return Refusal(
                    status=401,
                    kind="unauthorised",
                    message="a token of this daemon is needed: `sutler token` makes one",
                    headers={"WWW-Authenticate": "Bearer"},
                )
            caller = client.same_caller(caller)
        assert caller is not None
        if door is None:
            return Refusal(
                status=404,
                kind="not_found",
                message=f"{request.method} {request.path[:_SHOWN]} is not served here:"
                " /openapi.json tells what is",
            )
        if request.method != door.method and (request.method, door.method) != ("HEAD", "GET"):
            allowed = ", ".join(sorted(self._doors[door.path]))
            return Refusal(
                status=405,
                kind="method",
                message=f"this path takes {allowed}",
                headers={"Allow": allowed},
            )
        if (request.content_length or 0) > self._max_body_bytes:
            return self._too_large()
        return caller

    async def _serve(
        self,
        request: web.BaseRequest,
        client: Client,
        caller: Caller,
        door: Door,
        rest: str,
        manners: Manners,
    ) -> web.StreamResponse:
        answer: Page | Stream
        try:
            body = b""
            if request.method in _WITH_BODY:
                read = await self._body(request, client)
                if isinstance(read, Refusal):
                    return await self._send(request, client, manners.refusal(read))
                body = read
            ask = Ask(
                path=request.path,
                rest=rest,
                query=request.query,
                headers=request.headers,
                caller=caller,
                client=client,
                json=strict.loads(body) if request.method in _WITH_BODY else None,
                body_bytes=len(body),
            )
            client.holds_body(0)
            answer = await door.run(ask)
        except CallError as error:
            self._house.tally.failed(error.type)
            if door.operation is not None:
                refused(self._house, door.operation, caller, _said(request.headers), error)
            answer = manners.error(error, None)
        except (ConnectionError, asyncio.CancelledError):
            raise
        except Exception as error:  # noqa: BLE001 -- one request's bug is not everybody's
            answer = manners.error(self._bug(request, caller, error), None)
        return await self._send(request, client, answer)

    def _bug(self, request: web.BaseRequest, caller: Caller, error: Exception) -> CallError:
        self._house.log.event(
            "error",
            "request_failed",
            uid=caller.uid,
            method=f"{request.method} {request.path}"[:100],
            traceback="".join(traceback.format_exception(error)),
        )
        told = InternalError(f"{type(error).__name__}: see the daemon's log")
        self._house.tally.failed(told.type)
        return told

    async def _body(self, request: web.BaseRequest, client: Client) -> bytes | Refusal:
        """Read what was sent, never more than the limit, never waiting for ever."""
        from aiohttp.web import RequestPayloadError

        waits = request.headers.get("Expect", "").lower() == "100-continue"
        if waits and request.transport is not None:
            request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        parts: list[bytes] = []
        size_bytes = 0
        while not request.content.at_eof():
            try:
                async with asyncio.timeout(BODY_SILENCE_S):
                    part = await request.content.readany()
            except TimeoutError:
                return Refusal(status=408, kind="timeout", message="the body did not come")
            except RequestPayloadError:
                return Refusal(
                    status=400, kind="invalid", message="the body's chunks are malformed"
                )
            parts.append(part)
            size_bytes += len(part)
            if size_bytes > self._max_body_bytes:
                return self._too_large()
            client.holds_body(size_bytes)
        return b"".join(parts)

    def _too_large(self) -> Refusal:
        return Refusal(
            status=413,
            kind="too_large",
            message=f"a body may have {self._max_body_bytes} bytes at most",
        )

    # -- answers

    def _misread(self, protocol: Any, status: int, message: str) -> web.Response:
        """Tell what is wrong with a head, or a body, that the library could not read."""
        client = self._clients[protocol]
        self._house.tally.failed("invalid_request")
        manners = manners_at(path_in(client.head), {})
        refusal = Refusal(status=status, kind="invalid", message=message)
        return self._page(client, manners.refusal(refusal))

    def _page(self, client: Client, answer: Page) -> web.Response:
        from aiohttp import web

        client.wrote(len(answer.body))
        return web.Response(
            body=answer.body,
            status=answer.status,
            headers={**answer.headers, "Content-Type": answer.content_type, **_ALWAYS},
        )

    async def _send(
        self, request: web.BaseRequest, client: Client, answer: Page | Stream
    ) -> web.StreamResponse:
        from aiohttp import web

        if isinstance(answer, Page):
            page = self._page(client, answer)
            # The library drops what comes with an upgrade that is declined.
            declined = request.method not in _WITH_BODY and (
                "Upgrade" in request.headers or request.method == "CONNECT"
            )
            if self._house.draining or declined or not request.content.at_eof():
                page.force_close()  # a body that nobody reads would be taken for a request
            return page
        events = web.StreamResponse(
            headers={
                **answer.headers,
                "Content-Type": "text/event-stream; charset=utf-8",
                "Cache-Control": "no-cache",
                **_ALWAYS,
            }
        )
        try:
            await events.prepare(request)
            if request.method != "HEAD":  # whose answer ends with its head
                async for piece in answer.pieces:
                    client.wrote(len(piece))
                    await events.write(piece)
            await events.write_eof()
        except (ConnectionError, asyncio.CancelledError):
            raise
        except Exception as error:  # noqa: BLE001 -- one request's bug is not everybody's
            # Too late to tell the client anything but that this is not the end it expects.
            self._bug(request, client.caller, error)
            client.gone()
        finally:
            answer.done()
        return events


def stopping() -> ShuttingDown:
    return ShuttingDown("the daemon is stopping: reconnect and ask again")


def _said(headers: Mapping[str, str]) -> dict[str, Any]:
    """Give what a refused request's headers say of it, if that is not what is wrong."""
    try:
        return options(headers)
    except InvalidParams:
        return {}
