"""What the pipeline may expect of a provider, and what a provider tells it of a failure.

Three parts stand behind one provider: a *dialect* spells requests and reads replies (pure),
a *transport* moves bytes, an *endpoint* joins them with an address and a credential. The
pipeline sees only ``Provider``. Nothing here retries, waits, counts money or caches.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import field
from enum import Enum
from typing import Any, Protocol

from sutlerd.domain.call import ChatRequest, EmbedRequest
from sutlerd.domain.record import record
from sutlerd.domain.reply import Delta, Embedded, Reply


class Verdict(Enum):
    """What a failure means for the next attempt."""

    #: The same route may answer later: after ``retry_after_s`` if given, else with back-off.
    RETRY = "retry"
    #: The provider refused this request; no other try and no other provider mends it.
    REFUSED = "refused"
    #: This credential or endpoint is of no use for now (no credit, no permission).
    CLOSED = "closed"
    #: This model is of no use here (retired, not found); the endpoint's others may be.
    MODEL_GONE = "model_gone"
    #: The prompt does not fit the model.
    TOO_LONG = "too_long"


class Outcome(Enum):
    """What is known of the provider's bill."""

    #: The request surely never reached the provider.
    NOT_SENT = "not_sent"
    #: It did, and the provider surely did not bill.
    NOT_BILLED = "not_billed"
    #: It did, and nobody knows: counted in full.
    UNKNOWN = "unknown"


class AttemptFailed(Exception):
    """One attempt failed. ``message`` is redacted and fit for a caller's eyes.

    ``kind`` is a short stable word for logs, traces and metrics (``rate_limit``,
    ``timeout``, ``connect``, ``reset``, ``bad_body``, ``cut``, ``http_503`` …).
    ``tokens_needed`` and ``tokens_allowed`` are set with ``Verdict.TOO_LONG`` if known.
    """

    def __init__(
        self,
        message: str,
        *,
        verdict: Verdict,
        outcome: Outcome,
        kind: str,
        status: int | None = None,
        retry_after_s: float | None = None,
        tokens_needed: int | None = None,
        tokens_allowed: int | None = None,
        limits: RateLimitView | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.verdict = verdict
        self.outcome = outcome
        self.kind = kind
        self.status = status
        self.retry_after_s = retry_after_s
        self.tokens_needed = tokens_needed
        self.tokens_allowed = tokens_allowed
        self.limits = limits


@record
class LimitView:
    """One limit as a provider's headers tell it; ``reset_s`` counts from the reply's arrival."""

    limit: float | None = None
    remaining: float | None = None
    reset_s: float | None = None


@record
class RateLimitView:
    """The provider's view of the shared limits, by kind: ``requests``, ``tokens``,
    ``tokens_in``, ``tokens_out``; with a suffix ``_per_day`` where the window is a day."""

    limits: dict[str, LimitView] = field(default_factory=dict)


@record
class BuiltRequest:
    """A request in a provider's spelling. ``body`` is the whole effective JSON body without
    transport matters (streaming flags): it is what the cache key is made of.

    ``dropped`` names parameters that the model does not take and that only hinted.
    """

    model: str
    path: str
    body: dict[str, Any]
    headers: dict[str, str] = field(default_factory=dict)
    dropped: tuple[str, ...] = ()


@record
class Capabilities:
    """What an endpoint can do with a model; ``None`` for numbers nobody told us.

    ``max_embed_texts`` and ``max_embed_tokens`` bound one request, all its texts together.
    """

    chat: bool = True
    stream: bool = True
    embed: bool = False
    functions: bool = True
    json_mode: bool = True
    schema: bool = True
    count_tokens_exact: bool = False
    context_tokens: int | None = None
    max_embed_texts: int | None = None
    max_embed_tokens: int | None = None
    dimension: int | None = None

    def to_wire(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


@record
class TokenCount:
    """``method`` says how it was counted: ``provider``, ``tiktoken:o200k_base``, ``estimate``."""

    tokens: int
    exact: bool
    method: str


class Provider(Protocol):
    """One configured endpoint. Entered once as an async context manager; loads nothing heavy
    and contacts nobody before its first use."""

    name: str
    default_model: str
    models: Sequence[str]
    #: Models that give embeddings, the default one first; empty where there are none.
    embed_models: Sequence[str]

    async def __aenter__(self) -> Provider: ...

    async def __aexit__(self, *_: object) -> None: ...

    def capabilities(self, model: str) -> Capabilities: ...

    def build_chat(self, request: ChatRequest, model: str) -> BuiltRequest:
        """Spell the request. Pure and deterministic.

        Raises ``domain.errors.InvalidParams`` for what the model cannot honour.
        """

    def build_embed(self, request: EmbedRequest, model: str) -> BuiltRequest: ...

    async def complete(self, built: BuiltRequest, *, deadline_s: float) -> Reply:
        """Make one attempt; raise ``AttemptFailed``. ``deadline_s`` is monotonic."""

    def stream(
        self, built: BuiltRequest, *, deadline_s: float
    ) -> AbstractAsyncContextManager[AsyncIterator[Sequence[Delta | Reply]]]:
        """Make one attempt. Each item is what one read brought; the very last is the Reply.

        Leaving the context before that closes the provider's connection.
        """

    async def embed(self, built: BuiltRequest, *, deadline_s: float) -> Embedded: ...

    async def count_tokens(
        self,
        asked: str | Sequence[dict[str, Any]],
        model: str,
        *,
        deadline_s: float,
        ask_provider: bool = False,
    ) -> TokenCount:
        """Count a bare text, or the whole prompt that messages become.

        ``ask_provider``: by the provider's own count where it has one, even if that is a call
        far away; else only servers nearby are asked.
        """

    def limits_seen(self, built: BuiltRequest) -> RateLimitView | None:
        """Give the shared limits as the answer to this request told them. Told once."""

    def health(self) -> dict[str, Any]:
        """Tell what ``status`` shows of this endpoint; never a secret."""
