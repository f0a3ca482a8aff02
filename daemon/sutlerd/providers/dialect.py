"""How a provider spells requests, replies and failures: the protocol that every dialect obeys.

What belongs here: the ``Dialect`` protocol and the small types that cross its line. A dialect
is pure: no clock, no socket, no file, no state but what its constructor was given (the
endpoint's name and switches). It sees bodies as bytes and gives back the domain's types, or
raises ``AttemptFailed`` with its verdict. One instance serves one endpoint.

Limits against hostile replies that dialects keep are here too, so that all keep the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any, Literal, Protocol

from sutlerd.domain.call import ChatRequest, EmbedRequest
from sutlerd.domain.record import record
from sutlerd.domain.reply import Delta, Embedded, Reply
from sutlerd.providers.contract import (
    AttemptFailed,
    BuiltRequest,
    Capabilities,
    RateLimitView,
    TokenCount,
)
from sutlerd.providers.transport import Response

#: One line (SSE or NDJSON) of a stream, and one event joined of such lines.
MAX_STREAM_LINE_BYTES = 8 * 1024 * 1024
#: Tool calls in one reply.
MAX_TOOL_CALLS = 1024
#: Fragments of tool calls in one stream.
MAX_TOOL_FRAGMENTS = 262_144
#: Text, reasoning and arguments of one reply together, in characters.
MAX_REPLY_CHARS = 32 * 1024 * 1024


@record
class ModelTraits:
    """What one model takes, as ``model_table`` tells it. The default takes everything.

    ``drops`` names parameters of ``ChatRequest`` that the model refuses and that only hint
    (``temperature``, ``top_p``, ``seed``, ``user``, ``stop``, ``name``,
    ``parallel_tool_calls``; also fields of ``extra`` such as ``top_k``): left out, and listed
    in ``BuiltRequest.dropped``. ``drops_while_thinking`` are dropped unless the effort asked
    for is ``none``.
    ``refuses`` names what changes the meaning (``functions``, ``forced_choice``, ``schema``,
    ``json_mode``, ``images``, ``stop``, ``prefill``): ``InvalidParams`` that says so.
    ``system_role`` is the role that instructions are sent under. ``reasoning`` models count
    their hidden text in the output limit. ``efforts`` and ``thinking_modes`` are the words
    that the model takes there; ``None``: nobody told us, so all pass.
    ``native_schema`` and ``native_json_mode``: whether the server can be made to keep to a
    schema or to JSON; if not, it is asked in words.
    ``api`` is the interface of OpenAI's that the model is reached by.
    ``cache_from_tokens`` is the shortest prefix that the provider keeps for the next request
    if it is marked; ``None``: marks are of no use.
    ``estimate_factor`` is what a count by another tokenizer is to be multiplied with.
    """

    capabilities: Capabilities = field(default_factory=Capabilities)
    drops: frozenset[str] = frozenset()
    drops_while_thinking: frozenset[str] = frozenset()
    refuses: frozenset[str] = frozenset()
    system_role: str = "system"
    reasoning: bool = False
    efforts: frozenset[str] | None = None
    thinking_modes: frozenset[str] | None = None
    native_schema: bool = True
    native_json_mode: bool = True
    api: Literal["chat", "responses", "responses_for_functions"] = "chat"
    max_output_tokens: int | None = None
    cache_from_tokens: int | None = None
    estimate_factor: float = 1.0

    def drops_at(self, effort: object) -> frozenset[str]:
        """Give what is dropped from a request that asks for this effort; ``None``: for none."""
        return self.drops if effort == "none" else self.drops | self.drops_while_thinking


class StreamReader(Protocol):
    """Turns the bytes of one stream into pieces. Bytes may be cut anywhere."""

    def feed(self, data: bytes) -> Sequence[Delta | Reply]:
        """Take what one read brought; give what it completes, the ``Reply`` very last.

        Raise ``AttemptFailed`` for an error event (classified by its own type, never by the
        stream's status), for what cannot be read, and over a limit; but first give the pieces
        that came before it in the same bytes: then the next call raises, with no bytes too,
        so that a stream is the same however it was cut. Nothing after the ``Reply`` counts.
        """

    def eof(self) -> Sequence[Delta | Reply]:
        """The stream ended in good order. Raise ``AttemptFailed`` of kind ``cut`` when the
        terminal event had not come; give the ``Reply`` if it had and nothing else followed.
        As with ``feed``, pieces come before a failure."""


class Dialect(Protocol):
    """One wire. See ``contract.BuiltRequest`` for what ``body`` may and may not hold."""

    def auth_headers(self, api_key: str | None) -> Mapping[str, str]:
        """Give the fixed headers of every request: credential and version."""

    def build_chat(self, request: ChatRequest, model: str, traits: ModelTraits) -> BuiltRequest:
        """Spell a chat request, deterministically. Raise ``domain.errors.InvalidParams``."""

    def build_embed(self, request: EmbedRequest, model: str, traits: ModelTraits) -> BuiltRequest:
        """Spell an embedding request; ``InvalidParams`` that names the reason if there is no
        such thing on this wire."""

    def build_count(
        self, asked: str | Sequence[dict[str, Any]], model: str, traits: ModelTraits
    ) -> BuiltRequest | None:
        """Spell a request that counts a bare text, or the prompt that messages become;
        ``None``: the provider does not count."""

    def stream_body(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Give a copy of ``body`` with what makes its answer a stream with usage."""

    def read_reply(self, built: BuiltRequest, response: Response) -> Reply:
        """Read a whole answer of any status; raise ``AttemptFailed`` if it is no answer."""

    def open_stream(self, built: BuiltRequest) -> StreamReader:
        """Give a reader for one stream that answered with status 200."""

    def read_embed(self, built: BuiltRequest, response: Response) -> Embedded:
        """Read vectors in the order of the texts, all there, all finite, of one dimension."""

    def read_count(self, response: Response) -> TokenCount: ...

    def classify(self, response: Response) -> AttemptFailed:
        """Judge an answer that is no success. ``response.body`` may be cut or not JSON."""

    def limits(self, response: Response) -> RateLimitView | None:
        """Read the rate-limit headers of any answer; ``None`` where there are none. Only
        ``headers`` and ``arrived_unix_s`` are looked at."""
