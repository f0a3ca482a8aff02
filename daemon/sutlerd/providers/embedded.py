"""The embedded model: an OpenAI-compatible endpoint whose server is the daemon's own child.

The child is started at first use, started again when it dies or stops answering, and ends
with the daemon, however that ends. All there is to talking to it is an ``Endpoint``'s; here
is only what is different about a server of one's own.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sutlerd.config.schema import EmbeddedConfig
from sutlerd.config.schema_provider import ProviderConfig
from sutlerd.domain.call import ChatRequest, EmbedRequest
from sutlerd.domain.errors import InvalidParams
from sutlerd.domain.ports import Clock, EventLog
from sutlerd.domain.reply import Delta, Embedded, Reply
from sutlerd.domain.usage import UNKNOWN_USAGE, Usage
from sutlerd.providers.contract import BuiltRequest
from sutlerd.providers.dialect import ModelTraits
from sutlerd.providers.embedded_child import EmbeddedChild
from sutlerd.providers.embedded_dialect import EmbeddedDialect, traits_of
from sutlerd.providers.embedded_transport import EmbeddedTransport
from sutlerd.providers.endpoint import Endpoint, EndpointSettings
from sutlerd.providers.weights import DEFAULT_DIMENSION, DEFAULT_MODEL, model_name
from sutlerd.system.supervision import Supervisor

#: The transport bounds attempts, from when the server has a slot for them; until then a call
#: waits as long as its own deadline lets it.
_NO_LIMIT_S = 10.0**9


class EmbeddedProvider(Endpoint):
    """See ``contract.Provider``. ``environ`` is what the child may inherit from."""

    def __init__(
        self,
        *,
        name: str,
        settings: ProviderConfig,
        config: EmbeddedConfig,
        clock: Clock,
        log: EventLog,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self._config = config
        model = _model(settings, config)
        child = EmbeddedChild(
            config=config,
            model=model,
            clock=clock,
            environ=os.environ if environ is None else environ,
        )
        self._threads = child.threads()
        self._supervisor = Supervisor(child, clock=clock, log=log)
        self._server = EmbeddedTransport(
            supervisor=self._supervisor,
            slots=config.slots,
            attempt_s=settings.timeout_seconds,
            clock=clock,
        )
        super().__init__(
            settings=EndpointSettings(
                name=name,
                address="a process of the daemon's own",
                transport="lean",
                default_model=model,
                models=(model,),
                embed_models=(model,),
                timeout_s=_NO_LIMIT_S,
            ),
            dialect=EmbeddedDialect(provider=name),
            transport=self._server,
            traits=lambda _model: self._own_traits(),
            clock=clock,
            mask=child.mask,
        )

    def build_chat(self, request: ChatRequest, model: str) -> BuiltRequest:
        self._refuse_others(model)
        return super().build_chat(request, model)

    def build_embed(self, request: EmbedRequest, model: str) -> BuiltRequest:
        self._refuse_others(model)
        return super().build_embed(request, model)

    async def complete(self, built: BuiltRequest, *, deadline_s: float) -> Reply:
        """Make one attempt, as a stream that nobody sees: while the server is busy it does not
        notice that the client of a plain call has left, but of a stream it does at once."""
        last: Delta | Reply | None = None
        async with self.stream(built, deadline_s=deadline_s) as batches:
            async for batch in batches:
                last = batch[-1]
        assert isinstance(last, Reply), "a stream ends with its reply or raises"
        return last

    async def embed(self, built: BuiltRequest, *, deadline_s: float) -> Embedded:
        """Embed one text after the other: computed together they influence one another, up to
        a cosine of 0.96 between two vectors of one text, and nothing is won in time."""
        rows = []
        for text in built.body["input"]:
            alone = replace(built, body={**built.body, "input": [text]})
            rows.append(await super().embed(alone, deadline_s=deadline_s))
        tokens_in = [row.usage.tokens_in for row in rows if row.usage.tokens_in is not None]
        known = len(tokens_in) == len(rows)
        return replace(
            rows[0],
            vectors=tuple(vector for row in rows for vector in row.vectors),
            usage=Usage(tokens_in=sum(tokens_in), tokens_out=0) if known else UNKNOWN_USAGE,
        )

    def health(self) -> dict[str, Any]:
        return {
            **super().health(),
            "process": {
                "state": self._supervisor.state.value,
                "pid": self._supervisor.pid,
                "starts": self._supervisor.lives,
                "last_end": self._supervisor.last_end or None,
                "slots": self._config.slots,
                "threads": self._threads,
            },
        }

    def _own_traits(self) -> ModelTraits:
        """What the running server told of its model, else what is known before it runs."""
        running = self._server.running
        if running is not None:
            return traits_of(context_tokens=running.context_tokens, dimension=running.dimension)
        packaged = self._config.model_path is None
        return traits_of(
            context_tokens=self._config.context_tokens,
            dimension=DEFAULT_DIMENSION if packaged else None,
        )

    def _refuse_others(self, model: str) -> None:
        """The server has one model and answers to any name; nobody shall take it for another."""
        if model != self.default_model:
            raise InvalidParams(
                f"params.model: the embedded model is {self.default_model}, there is no {model}"
            )


def _model(settings: ProviderConfig, config: EmbeddedConfig) -> str:
    """Give the model's name: the configured one, else that of its file."""
    if settings.default_model != DEFAULT_MODEL:
        return settings.default_model
    return model_name(config.model_path)
