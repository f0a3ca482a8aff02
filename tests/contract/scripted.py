"""A provider that does what a test tells it: an HTTP/1.1 server of real bytes on loopback.

``async with ScriptedProvider() as provider`` serves on the test's own loop; ``with
ScriptedProvider.in_thread() as provider`` on a thread of its own, for blocking tests. For a
server that must outlive the test's process or be killed, see ``scripted_process``.

Each request takes the next answer of ``queue``, else ``always`` (an answer, or a function
of the request). ``greetings`` are steps done on a new connection before anything is read.
The server counts connections and requests, keeps every body, and writes a bill.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import ssl
import struct
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.contract import answers
from tests.contract.answers import Answer, Step


@dataclass(frozen=True)
class Received:
    """One request as it came. ``headers`` has lower-case names."""

    number: int
    connection: int
    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Billed:
    """What the provider charges for one request."""

    request: int
    tokens_in: int
    tokens_out: int


@dataclass
class ScriptedProvider:
    always: Answer | Callable[[Received], Answer] = field(default_factory=answers.openai_chat)
    queue: deque[Answer] = field(default_factory=deque)
    greetings: deque[Sequence[Step]] = field(default_factory=deque)
    tls: ssl.SSLContext | None = None
    port: int = 0

    def __post_init__(self) -> None:
        self.requests: list[Received] = []
        self.bill: list[Billed] = []
        self.connections = 0
        self.open_connections = 0
        #: Times the peer went away while a step was still under way.
        self.hangups = 0
        self._gates: set[str] = set()
        self._news = threading.Condition()
        self._waiting: set[asyncio.Future[None]] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    # --- what a test calls ------------------------------------------------------------

    @property
    def address(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    @property
    def base_url(self) -> str:
        return self.address + "/v1"

    def billed_tokens(self) -> tuple[int, int]:
        return sum(b.tokens_in for b in self.bill), sum(b.tokens_out for b in self.bill)

    def open(self, gate: str) -> None:
        """Let all answers pass that wait at this gate, now and later. From any thread."""
        self._gates.add(gate)
        self._loop.call_soon_threadsafe(self._tell)

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait, on the server's own loop, for something about the server to become true."""
        while not holds():
            news = self._loop.create_future()
            self._waiting.add(news)
            await news

    def wait_until(self, holds: Callable[[], bool], *, timeout_s: float = 30) -> None:
        """The same from another thread."""
        with self._news:
            assert self._news.wait_for(holds, timeout_s), "the scripted provider saw nothing"

    async def __aenter__(self) -> ScriptedProvider:
        self._loop = asyncio.get_running_loop()
        self._server = await asyncio.start_server(
            self._connected, "127.0.0.1", self.port, ssl=self.tls, backlog=1024
        )
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        # One round for the transports that were just aborted to let go of their sockets.
        await asyncio.sleep(0)

    @classmethod
    @contextlib.contextmanager
    def in_thread(cls, **fields: Any) -> Iterator[ScriptedProvider]:
        provider, ready, leave = cls(**fields), threading.Event(), asyncio.Event()

        async def serve() -> None:
            async with provider:
                ready.set()
                await leave.wait()

        thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
        thread.start()
        assert ready.wait(30), "the scripted provider did not start"
        try:
            yield provider
        finally:
            provider._loop.call_soon_threadsafe(leave.set)
            thread.join(30)

    # --- the server -------------------------------------------------------------------

    def _tell(self) -> None:
        for news in self._waiting:
            if not news.done():
                news.set_result(None)
        self._waiting.clear()
        with self._news:
            self._news.notify_all()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        self.open_connections += 1
        number = self.connections
        self._tell()
        try:
            if self.greetings:
                await self._do(self.greetings.popleft(), reader, writer)
            async for request in self._requests(number, reader):
                await self._do(self._answer(request).steps, reader, writer)
        except _Over:
            pass
        except ConnectionError:
            self.hangups += 1
        except asyncio.CancelledError:
            pass  # the test is over
        finally:
            self._tasks.discard(task)
            self.open_connections -= 1
            writer.close()
            self._tell()

    async def _requests(
        self, connection: int, reader: asyncio.StreamReader
    ) -> AsyncIterator[Received]:
        while True:
            try:
                start = await reader.readuntil(b"\r\n\r\n")
            except asyncio.IncompleteReadError:
                return
            first, *lines = start[:-4].decode("latin-1").split("\r\n")
            method, path, _ = first.split(" ")
            pairs = (line.partition(":") for line in lines)
            headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
            body = await reader.readexactly(int(headers.get("content-length", 0)))
            number = len(self.requests) + 1
            yield Received(number, connection, method, path, headers, body)

    def _answer(self, request: Received) -> Answer:
        self.requests.append(request)
        if self.queue:
            answer = self.queue.popleft()
        else:
            answer = self.always if isinstance(self.always, Answer) else self.always(request)
        if answer.tokens_in or answer.tokens_out:
            self.bill.append(Billed(request.number, answer.tokens_in, answer.tokens_out))
        self._tell()
        return answer

    async def _do(
        self, steps: Sequence[Step], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        for step in steps:
            match step:
                case answers.Send(data):
                    await _send(writer, data)
                case answers.Trickle(data, every_s, size):
                    for start in range(0, len(data), size):
                        await _send(writer, data[start : start + size])
                        await asyncio.sleep(every_s)
                case answers.Forever(data, every_s):
                    while True:
                        await _send(writer, data)
                        await asyncio.sleep(every_s)
                case answers.Wait(seconds):
                    await asyncio.sleep(seconds)
                case answers.Gate(name):
                    await self._at_gate(name, reader)
                case answers.Hang():
                    await self._gone(reader)
                case answers.HalfClose():
                    writer.write_eof()
                case answers.Close():
                    raise _Over
                case answers.Reset():
                    _reset(writer)
                    raise _Over

    async def _at_gate(self, name: str, reader: asyncio.StreamReader) -> None:
        opened = asyncio.ensure_future(self.until(lambda: name in self._gates))
        gone = asyncio.ensure_future(self._gone(reader))
        try:
            await asyncio.wait((opened, gone), return_when=asyncio.FIRST_COMPLETED)
            if not opened.done():
                await gone
        finally:
            for waiting in (opened, gone):
                waiting.cancel()
            await asyncio.gather(opened, gone, return_exceptions=True)

    async def _gone(self, reader: asyncio.StreamReader) -> None:
        """Wait until the peer closes. Not with pipelined requests, which nobody sends."""
        await reader.read(1)
        self.hangups += 1
        raise _Over


class _Over(Exception):
    """The connection ends here, as scripted or because the peer left."""


async def _send(writer: asyncio.StreamWriter, data: bytes) -> None:
    if writer.transport.is_closing():
        # To write all the same is a RuntimeError on uvloop, and nothing at all on asyncio.
        raise ConnectionResetError("the peer is gone")
    writer.write(data)
    await writer.drain()


def _reset(writer: asyncio.StreamWriter) -> None:
    sock: socket.socket = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
