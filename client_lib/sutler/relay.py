"""A loopback port for one program, relayed to the daemon's HTTP socket.

What can only speak HTTP over TCP gets a port of its own. Whose connection may pass, and as
what, a door decides by the head of its first request: `CommandDoor` here, for a command that
has a token as long as it runs, or `sutler.relay_page.PageDoor`, for a browser. The daemon
sees this user, by the kernel's word.
"""

from __future__ import annotations

import asyncio
import hmac
import secrets
import threading

from sutler import dial

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, Optional, Set, Tuple, Union

    from sutler.relay_page import PageDoor

_MAX_HEAD_BYTES = 64 * 1024
_HEAD_WITHIN_S = 30.0
_CONNECT_WITHIN_S = 10.0
_READ_BYTES = 256 * 1024
_HOSTS = ("127.0.0.1", "localhost")


class Verdict:
    """What becomes of a connection: ``answer`` ends it, else ``head`` goes to the daemon.

    ``one_request``: nothing that the client sends after its head is passed on.
    """

    __slots__ = ("answer", "head", "one_request")

    def __init__(
        self, *, answer: Optional[bytes] = None, head: bytes = b"", one_request: bool = False
    ) -> None:
        self.answer = answer
        self.head = head
        self.one_request = one_request


class CommandDoor:
    """Lets in who has the command's token; then bytes go both ways as they are."""

    def __init__(self) -> None:
        self.token = "sutler-" + secrets.token_urlsafe(32)

    def variables(self, port: int) -> Dict[str, str]:
        """Give what the command is to find in its environment."""
        base = "http://127.0.0.1:%d" % port
        return {
            "OPENAI_BASE_URL": base + "/v1",
            "OPENAI_API_KEY": self.token,
            "ANTHROPIC_BASE_URL": base,
            "ANTHROPIC_API_KEY": self.token,
        }

    def judge(self, head: bytes, port: int, peer_port: int) -> Verdict:
        """Judge the first request of a connection from ``peer_port`` to ``port``."""
        fields: Dict[str, str] = {}
        for line in head.decode("latin-1").split("\r\n")[1:]:
            name, _, value = line.partition(":")
            fields[name.strip().lower()] = value.strip()
        host = fields.get("host", "").rpartition(":")[0] or fields.get("host", "")
        if host not in _HOSTS or "origin" in fields:
            said = "this port is for one command on this machine, not for web pages"
            return Verdict(answer=_answer(403, said))
        given = fields.get("authorization", "")
        given = given[7:].strip() if given[:7].lower() == "bearer " else fields.get("x-api-key", "")
        if not hmac.compare_digest(given.encode("latin-1"), self.token.encode()):
            said = "this port is for the command that `sutler proxy` runs: the token is wrong"
            return Verdict(answer=_answer(401, said))
        return Verdict(head=head)

    def unreachable(self, why: str) -> bytes:
        """Give the answer to a request that the daemon cannot be asked."""
        return _answer(503, "sutlerd cannot be reached: " + why)


class Relay:
    """A context manager: relays while it is entered, on a thread of its own.

    ``port`` is where it is to listen, 0 for any; while entered, where it does. Entering raises
    OSError if that port is not to be had.
    """

    def __init__(
        self, http_socket: str, door: Union[CommandDoor, PageDoor], *, port: int = 0
    ) -> None:
        self._http_socket = http_socket
        self._door = door
        self._loop: Optional[asyncio.AbstractEventLoop] = None
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sutler relay", daemon=True)
        self._tasks: Set["asyncio.Task[None]"] = set()
        self._failed: Optional[BaseException] = None
        self.port = port

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

    def wait(self) -> None:
        """Return when the relay ends by itself, which it does not; Ctrl-C interrupts this."""
        self._thread.join()

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
            self._client, "127.0.0.1", self.port, limit=_MAX_HEAD_BYTES, backlog=1024
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
        peer_port: int = writer.get_extra_info("peername")[1]
        verdict = self._door.judge(head, self.port, peer_port)
        if verdict.answer is not None:
            writer.write(verdict.answer)
            await writer.drain()
            return
        try:
            there = await self._reach()
        except OSError as error:
            writer.write(self._door.unreachable(str(error)))
            await writer.drain()
            return
        there[1].write(verdict.head)
        await _both_ways((reader, writer), there, verdict.one_request)

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
    one_request: bool,
) -> None:
    """Pass bytes on until either side ends; then both do, so that a call nobody waits for ends."""
    ways = [
        asyncio.ensure_future(_pass_on(here[0], None if one_request else there[1])),
        asyncio.ensure_future(_pass_on(there[0], here[1])),
    ]
    try:
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        there[1].close()


async def _pass_on(reader: asyncio.StreamReader, writer: Optional[asyncio.StreamWriter]) -> None:
    """Pass on what comes, until its end; without a writer it goes nowhere."""
    while True:
        data = await reader.read(_READ_BYTES)
        if not data:
            return
        if writer is None:
            continue
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
