"""One configured endpoint: a dialect joined to a transport, an address and a credential.

Implements ``contract.Provider``. One attempt is one request: nothing is retried here, nothing
waits, nothing is counted but what ``status`` shows. A provider's words leave only masked.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Self, TypeVar

import orjson

from sutlerd.domain.call import ChatRequest, EmbedRequest
from sutlerd.domain.ports import Clock
from sutlerd.domain.record import quick, record
from sutlerd.domain.reply import Delta, Embedded, Reply
from sutlerd.providers.contract import (
    AttemptFailed,
    BuiltRequest,
    Capabilities,
    RateLimitView,
    TokenCount,
    Verdict,
)
from sutlerd.providers.counting import LocalCounter
from sutlerd.providers.dialect import Dialect, ModelTraits
from sutlerd.providers.endpoint_stream import AttemptStream
from sutlerd.providers.estimate import estimate_tokens
from sutlerd.providers.failures import bad_body, not_sent
from sutlerd.providers.model_list import read_model_list
from sutlerd.providers.tally import Tally
from sutlerd.providers.transport import Request, Response, StreamingResponse, Transport

_new_request = quick(Request)

#: Longest wait for the next bytes of a stream: models think in silence, but rarely for longer,
#: and a dead stream should not hold its place until the attempt's own limit.
SILENCE_S = 60.0
#: Answers whose headers are kept until somebody asks for them.
_MAX_HEARD = 1024

_Read = TypeVar("_Read")


@record
class EndpointSettings:
    """``timeout_s`` bounds one attempt, ``silence_s`` the wait for each piece of a stream
    after its head. ``address`` and ``transport`` are for ``status`` alone. ``models_path`` is
    where the server lists its models, ``None``: it does not. ``openai_models``: whatever their
    names, the models are OpenAI's and so is their tokenizer. ``counts_if_asked``: the server
    counts tokens, but far away and within a limit of its own."""

    name: str
    address: str
    transport: str
    default_model: str
    models: tuple[str, ...]
    embed_models: tuple[str, ...] = ()
    timeout_s: float = 60.0
    silence_s: float = SILENCE_S
    models_path: str | None = None
    openai_models: bool = False
    counts_if_asked: bool = False


class Endpoint:
    """See ``contract.Provider``. ``traits`` tells what a model takes; ``mask`` takes secrets
    out of a text; ``counter`` counts where the server does not, ``None``: it is estimated.
    ``gone`` tells of a model when it was shut down and what serves in its place, ``None`` of
    all others: one that is gone is not asked for."""

    def __init__(
        self,
        *,
        settings: EndpointSettings,
        dialect: Dialect,
        transport: Transport,
        traits: Callable[[str], ModelTraits],
        clock: Clock,
        mask: Callable[[str], str],
        counter: LocalCounter | None = None,
        gone: Callable[[str], str | None] | None = None,
    ) -> None:
        self.name = settings.name
        self.default_model = settings.default_model
        self.models: Sequence[str] = settings.models
        self.embed_models: Sequence[str] = settings.embed_models
        self._settings = settings
        self._dialect = dialect
        self._transport = transport
        self._traits = traits
        self._clock = clock
        self._counter = counter
        self._gone = gone
        self._tally = Tally(clock=clock, mask=mask)
        self._heard: dict[int, tuple[Mapping[str, str], float]] = {}

    async def __aenter__(self) -> Self:
        await self._transport.__aenter__()
        return self

    async def __aexit__(self, *details: object) -> None:
        await self._transport.__aexit__(*details)

    def capabilities(self, model: str) -> Capabilities:
        return self._traits(model).capabilities

    def build_chat(self, request: ChatRequest, model: str) -> BuiltRequest:
        return self._dialect.build_chat(request, model, self._traits(model))

    def build_embed(self, request: EmbedRequest, model: str) -> BuiltRequest:
        return self._dialect.build_embed(request, model, self._traits(model))

    async def complete(self, built: BuiltRequest, *, deadline_s: float) -> Reply:
        reply = await self._once(built, self._dialect.read_reply, deadline_s)
        return self._tally.masked(reply, built.model)

    async def embed(self, built: BuiltRequest, *, deadline_s: float) -> Embedded:
        embedded = await self._once(built, self._dialect.read_embed, deadline_s)
        return self._tally.masked_embedded(embedded, built.model)

    def stream(
        self, built: BuiltRequest, *, deadline_s: float
    ) -> AbstractAsyncContextManager[AsyncIterator[Sequence[Delta | Reply]]]:
        return AttemptStream(
            open_stream=lambda: self._open_stream(built, deadline_s),
            dialect=self._dialect,
            built=built,
            tally=self._tally,
            hear=self._hear,
        )

    async def count_tokens(
        self,
        asked: str | Sequence[dict[str, Any]],
        model: str,
        *,
        deadline_s: float,
        ask_provider: bool = False,
    ) -> TokenCount:
        traits = self._traits(model)
        if ask_provider or not self._settings.counts_if_asked:
            built = self._dialect.build_count(asked, model, traits)
            if built is not None:
                return await self._once(built, self._read_count, deadline_s)
        if self._counter is None:
            return estimate_tokens(asked)
        openai = self._settings.openai_models
        return await self._counter.count(asked, model, traits, openai=openai)

    async def served_models(self, *, deadline_s: float) -> tuple[str, ...] | None:
        """Ask the server which models it has; ``None`` where it does not tell. One attempt."""
        path = self._settings.models_path
        if path is None:
            return None
        request = Request(method="GET", path=path)
        with self._tally:
            try:
                response = await self._transport.send(request, timeout_s=self._time_s(deadline_s))
                if not 200 <= response.status < 300:
                    raise self._dialect.classify(response)
                models = read_model_list(response.body)
            except ValueError as error:
                raise self._tally.failed(bad_body(f"no list of models: {error}")) from None
            except AttemptFailed as failure:
                raise self._tally.failed(failure) from None
        self._tally.succeeded()
        return tuple(map(self._tally.mask, models))

    @property
    def in_flight(self) -> int:
        """Attempts under way now."""
        return self._tally.in_flight

    def limits_seen(self, built: BuiltRequest) -> RateLimitView | None:
        """Tell the shared limits as the answer to this request had them; ``None``: unsaid.

        Told once. ``reset_s`` counts from that answer's arrival.
        """
        heard = self._heard.pop(id(built), None)
        if heard is None:
            return None
        headers, arrived_unix_s = heard
        return self._dialect.limits(
            Response(status=200, headers=headers, body=b"", arrived_unix_s=arrived_unix_s)
        )

    def health(self) -> dict[str, Any]:
        return {
            "address": self._settings.address,
            "transport": self._settings.transport,
            "connections": self._transport.open_connections(),
            **self._tally.to_wire(),
        }

    async def _once(
        self,
        built: BuiltRequest,
        read: Callable[[BuiltRequest, Response], _Read],
        deadline_s: float,
    ) -> _Read:
        with self._tally:
            try:
                self._refuse_gone(built.model)
                response = await self._transport.send(
                    _request(built, built.body), timeout_s=self._time_s(deadline_s)
                )
                self._hear(built, response.headers, response.arrived_unix_s)
                answer = read(built, response)
            except AttemptFailed as failure:
                raise self._tally.failed(failure) from None
        self._tally.succeeded()
        return answer

    def _open_stream(
        self, built: BuiltRequest, deadline_s: float
    ) -> AbstractAsyncContextManager[StreamingResponse]:
        self._refuse_gone(built.model)
        return self._transport.stream(
            _request(built, self._dialect.stream_body(built.body)),
            timeout_s=self._time_s(deadline_s),
            silence_s=self._settings.silence_s,
        )

    def _refuse_gone(self, model: str) -> None:
        reason = None if self._gone is None else self._gone(model)
        if reason is not None:
            raise not_sent("model_gone", reason, verdict=Verdict.MODEL_GONE)

    def _time_s(self, deadline_s: float) -> float:
        """Give the time of one attempt; raise if there is none left."""
        left_s = deadline_s - self._clock.monotonic_s()
        if left_s <= 0:
            raise not_sent("timeout", "no time was left for an attempt")
        return min(self._settings.timeout_s, left_s)

    def _hear(self, built: BuiltRequest, headers: Mapping[str, str], arrived_unix_s: float) -> None:
        """Keep the headers: what they say of limits is read only when asked for, if ever."""
        if len(self._heard) >= _MAX_HEARD:
            del self._heard[next(iter(self._heard))]
        self._heard[id(built)] = (headers, arrived_unix_s)

    def _read_count(self, _built: BuiltRequest, response: Response) -> TokenCount:
        return self._dialect.read_count(response)


def _request(built: BuiltRequest, body: dict[str, Any]) -> Request:
    return _new_request(path=built.path, headers=built.headers, body=orjson.dumps(body))
