"""A provider for virtual time: the real endpoint and dialect, in front of a transport that
decides by a seed how long an answer takes, and whether there is one."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Self

from sutlerd.domain.ports import Clock
from sutlerd.providers.contract import Provider
from sutlerd.providers.dialect import ModelTraits
from sutlerd.providers.endpoint import Endpoint, EndpointSettings
from sutlerd.providers.failures import lost
from sutlerd.providers.openai_chat import OpenAIChat
from sutlerd.providers.openai_switches import LLAMA_CPP
from sutlerd.providers.transport import Request, Response, StreamingResponse
from tests.contract import answers

#: Whole tenths, so that answers, deadlines and cancels often meet in the same instant.
TIMES_S = (0.0, 0.1, 0.2, 0.5, 1.0, 3.0)


class SimulatedTransport:
    """A ``providers.transport.Transport``. Counts what is asked at once, by prompt, and keeps
    the times at which it was asked. ``down`` tells when nothing but 503 is answered, ``busy_s``
    how long an answer that begins now takes in addition."""

    def __init__(
        self,
        *,
        chance: random.Random,
        clock: Clock,
        failures: float = 0.0,
        down: Callable[[float], bool] = lambda now_s: False,
        busy_s: Callable[[float], float] = lambda now_s: 0.0,
    ) -> None:
        self._chance = chance
        self._clock = clock
        self._failures = failures
        self._down = down
        self._busy_s = busy_s
        self.asked_s: list[float] = []
        self.asked: Counter[str] = Counter()
        self.at_once: Counter[str] = Counter()
        self.most_at_once: Counter[str] = Counter()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    def open_connections(self) -> int:
        return self.at_once.total()

    async def send(self, request: Request, *, timeout_s: float) -> Response:
        with _Counted(self, request) as prompt:
            now_s = self._clock.monotonic_s()
            self.asked_s.append(now_s)
            await asyncio.sleep(self._chance.choice(TIMES_S) + self._busy_s(now_s))
            if self._chance.random() < self._failures or self._down(now_s):
                return self._answer(503, {"error": {"message": "busy", "type": "server_error"}})
            message = {"role": "assistant", "content": f"to: {prompt}"}
            choice = {"index": 0, "finish_reason": "stop", "message": message}
            return self._answer(200, {"choices": [choice], "model": "m", "usage": answers.usage()})

    def stream(
        self, request: Request, *, timeout_s: float, silence_s: float
    ) -> AbstractAsyncContextManager[StreamingResponse]:
        return self._stream(request)

    @asynccontextmanager
    async def _stream(self, request: Request) -> AsyncIterator[StreamingResponse]:
        with _Counted(self, request) as prompt:
            await asyncio.sleep(self._chance.choice(TIMES_S))
            yield StreamingResponse(
                status=200,
                headers={"content-type": "text/event-stream"},
                chunks=self._chunks(f"to: {prompt}"),
                finish=lambda: None,
            )

    async def _chunks(self, text: str) -> AsyncIterator[bytes]:
        fails_at = self._chance.randrange(len(text)) if self._chance.random() < 0.2 else None
        for place, letter in enumerate(text):
            if place == fails_at:
                raise lost("reset", "the simulated connection was reset")
            yield answers.sse(answers.openai_chunk(content=letter))
            if self._chance.random() < 0.3:
                await asyncio.sleep(self._chance.choice(TIMES_S) / 5)
        last = {**answers.openai_chunk(), "choices": [], "usage": answers.usage()}
        yield answers.sse(answers.openai_chunk(finish_reason="stop"), last, "[DONE]")

    def _answer(self, status: int, body: object) -> Response:
        return Response(
            status=status,
            headers={"content-type": "application/json"},
            body=json.dumps(body).encode(),
            arrived_unix_s=self._clock.unix_s(),
        )


class _Counted:
    """While entered, one more asks with a prompt."""

    def __init__(self, transport: SimulatedTransport, request: Request) -> None:
        self._transport = transport
        messages: Sequence[dict[str, Any]] = json.loads(request.body)["messages"]
        self._prompt: str = messages[-1]["content"]

    def __enter__(self) -> str:
        now = self._transport.at_once
        now[self._prompt] += 1
        self._transport.asked[self._prompt] += 1
        most = self._transport.most_at_once
        most[self._prompt] = max(most[self._prompt], now[self._prompt])
        return self._prompt

    def __exit__(self, *_: object) -> None:
        self._transport.at_once[self._prompt] -= 1


def simulated_provider(
    name: str, transport: SimulatedTransport, clock: Clock, *, timeout_s: float = 60.0
) -> Provider:
    """Join it to the real endpoint and dialect of a local server."""
    settings = EndpointSettings(
        name=name,
        address="simulated",
        transport="simulated",
        default_model="m",
        models=("m",),
        timeout_s=timeout_s,
    )
    return Endpoint(
        settings=settings,
        dialect=OpenAIChat(provider=name, switches=LLAMA_CPP),
        transport=transport,
        traits=lambda model: ModelTraits(),
        clock=clock,
        mask=lambda text: text,
    )
