"""A loopback port for one command, relayed to the daemon's HTTP socket.

A program that can only speak HTTP over TCP gets a port of its own, and a token that is good
for as long as the command runs. The first request of every connection must carry it; then
bytes go both ways as they are. The daemon sees this user, by the kernel's word.
"""

from __future__ import annotations

import asyncio
import hmac
import secrets
import threading

from sutler import dial

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, Optional, Set, Tuple

_MAX_HEAD_BYTES = 64 * 1024
_HEAD_WITHIN_S = 30.0
_CONNECT_WITHIN_S = 10.0
_READ_BYTES = 256 * 1024
_HOSTS = ("127.0.0.1", "localhost")


class Relay:
    """A context manager: relays while it is entered, on a thread of its own."""

    def __init__(self, http_socket: str) -> None:
        self._http_socket = http_socket
        self._loop: Optional[asyncio.AbstractEventLoop] = None
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sutler relay", daemon=True)
        self._tasks: Set["asyncio.Task[None]"] = set()
        self._failed: Optional[BaseException] = None
        self.port = 0
        self.token = "sutler-" + secrets.token_urlsafe(32)

    def __enter__(self) -> Relay:
        self._thread.start()
        self._ready.wait()
        if self._failed is not None:
            raise self._failed
        return self

    def __exit__(self, *_: object) -> None:
        loop = self._loop
        if loop is not None and self._thread.is_alive():
            loop.call_soon_threadsafe(self._leave.set)
        self._thread.join(5)

    def variables(self) -> Dict[str, str]:
        """Give what the command is to find in its environment."""
        base = "http://127.0.0.1:%d" % self.port
        return {
            "OPENAI_BASE_URL": base + "/v1",
            "OPENAI_API_KEY": self.token,
            "ANTHROPIC_BASE_URL": base,
            "ANTHROPIC_API_KEY": self.token,
        }

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except OSError as error:
            self._failed = error
        finally:
            self._ready.set()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._leave = asyncio.Event()
        server = await asyncio.start_server(
            self._client, "127.0.0.1", 0, limit=_MAX_HEAD_BYTES, backlog=1024
        )
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._leave.wait()
        server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._admit(reader, writer)
        except (ConnectionError, asyncio.CancelledError):
            pass  # the client has left, or the command has ended
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _admit(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), _HEAD_WITHIN_S)
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, asyncio.TimeoutError):
            return
        refused = self._judge(head)
        if refused is not None:
            writer.write(_answer(*refused))
            await writer.drain()
            return
        try:
            there = await self._reach()
        except OSError as error:
            writer.write(_answer(503, "sutlerd cannot be reached: %s" % error))
            await writer.drain()
            return
        there[1].write(head)
        await _both_ways((reader, writer), there)

    def _judge(self, head: bytes) -> Optional[Tuple[int, str]]:
        fields: Dict[str, str] = {}
        for line in head.decode("latin-1").split("\r\n")[1:]:
            name, _, value = line.partition(":")
            fields[name.strip().lower()] = value.strip()
        host = fields.get("host", "").rpartition(":")[0] or fields.get("host", "")
        if host not in _HOSTS or "origin" in fields:
            return 403, "this port is for one command on this machine, not for web pages"
        given = fields.get("authorization", "")
        given = given[7:].strip() if given[:7].lower() == "bearer " else fields.get("x-api-key", "")
        if not hmac.compare_digest(given.encode("latin-1"), self.token.encode()):
            return 401, "this port is for the command that `sutler proxy` runs: the token is wrong"
        return None

    async def _reach(self) -> Tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        from sutler.errors import SutlerError

        loop = asyncio.get_running_loop()
        try:
            connected = await loop.run_in_executor(
                None, dial.connect, self._http_socket, (), _CONNECT_WITHIN_S
            )
        except SutlerError as error:
            raise OSError(str(error)) from None
        connected.setblocking(False)
        return await asyncio.open_unix_connection(sock=connected)


async def _both_ways(
    here: Tuple[asyncio.StreamReader, asyncio.StreamWriter],
    there: Tuple[asyncio.StreamReader, asyncio.StreamWriter],
) -> None:
    """Pass bytes on until either side ends; then both do, so that a call nobody waits for ends."""
    ways = [
        asyncio.ensure_future(_pass_on(here[0], there[1])),
        asyncio.ensure_future(_pass_on(there[0], here[1])),
    ]
    try:
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        there[1].close()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        data = await reader.read(_READ_BYTES)
        if not data:
            return
        writer.write(data)
        await writer.drain()


def _answer(status: int, message: str) -> bytes:
    import json

    told = {"type": "error", "error": {"type": "authentication_error", "message": message}}
    body = json.dumps(told).encode()
    head = (
        "HTTP/1.1 %d Refused\r\nContent-Type: application/json\r\nConnection: close\r\n"
        "x-should-retry: false\r\nContent-Length: %d\r\n\r\n" % (status, len(body))
    )
    return head.encode() + body
