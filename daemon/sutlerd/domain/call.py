"""What is asked: the neutral request, and the call with nothing left to look up."""

from __future__ import annotations

from dataclasses import field
from enum import Enum
from typing import Any, NamedTuple

from sutlerd.domain.caller import Caller
from sutlerd.domain.record import record

#: That one call may carry.
MAX_LABELS = 16


@record
class ChatRequest:
    """A chat request in no provider's spelling, as a dialect takes it.

    ``messages`` are objects of the wire's shape: ``role``, ``content`` (a string or a list
    of parts) and where present ``name``, ``tool_calls`` (OpenAI's shape, arguments a JSON
    string) and ``tool_call_id``. ``functions`` are ``{name, description, parameters,
    strict}``; ``function_call`` is ``auto``, ``none``, ``required`` or
    ``{"name": …}``. ``extra`` holds provider fields that are passed through.
    ``checks_arguments`` wants calls of functions to fit their parameters.
    """

    messages: tuple[dict[str, Any], ...]
    max_tokens: int
    temperature: float | None = None
    top_p: float | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    user: str | None = None
    functions: tuple[dict[str, Any], ...] = ()
    function_call: str | dict[str, str] | None = None
    parallel_tool_calls: bool | None = None
    json_mode: bool = False
    schema: dict[str, Any] | None = None
    extra: dict[str, Any] = field(default_factory=dict)
    checks_arguments: bool = False


@record
class EmbedRequest:
    """Texts to be embedded, none of them empty; ``dimensions`` only where a model takes it."""

    texts: tuple[str, ...]
    dimensions: int | None = None
    extra: dict[str, Any] = field(default_factory=dict)


class CacheMode(Enum):
    ON = "on"
    OFF = "off"
    READ_ONLY = "read_only"
    WRITE_ONLY = "write_only"
    ONLY = "only"

    @property
    def reads(self) -> bool:
        return self in (CacheMode.ON, CacheMode.READ_ONLY, CacheMode.ONLY)

    @property
    def writes(self) -> bool:
        return self in (CacheMode.ON, CacheMode.WRITE_ONLY, CacheMode.ONLY)


class Route(NamedTuple):
    """One place a call may be answered: a configured endpoint's name and a model of its.

    A key of many tables on the way of every call, which a tuple is quickest at.
    """

    provider: str
    model: str

    def __str__(self) -> str:
        return f"{self.provider}/{self.model}"


@record
class Labels:
    """What a client claims about itself. Labels only label: nothing is allowed by them."""

    component: str | None = None
    project: str | None = None
    rank: str | None = None
    others: tuple[tuple[str, str], ...] = ()


NO_LABELS = Labels()

SHOWN_HASH_CHARS = 16


@record
class PromptUse:
    """Which version of which template a call was made from. ``hash`` names its content."""

    name: str
    version: str
    hash: str
    deprecated: str | None = None

    @property
    def title(self) -> str:
        """Name, version and the beginning of the hash, as accounts and logs tell them."""
        return f"{self.name}@{self.version} {self.hash[:SHOWN_HASH_CHARS]}"

    def to_wire(self) -> dict[str, str]:
        told = {"name": self.name, "version": self.version, "hash": self.hash}
        return told if self.deprecated is None else {**told, "deprecated": self.deprecated}


@record
class Call:
    """A request after resolve: who, what, where to, until when.

    ``routes`` is the chain in order, never empty. ``deadline_s`` is on the monotonic
    clock and bounds the whole call; ``cacheable`` says whether sharing and storing are
    allowed at all, ``cache_mode`` what the caller wants of it. ``prompt`` is the template it
    was made from, if it was; ``traceparent`` what the caller says of its own trace.
    """

    request_id: str
    caller: Caller
    request: ChatRequest | EmbedRequest
    routes: tuple[Route, ...]
    deadline_s: float
    lane: str
    labels: Labels
    cache_mode: CacheMode
    cacheable: bool
    cache_ttl_s: float
    sample: int
    stream: bool
    idempotent: bool
    prompt: PromptUse | None = None
    traceparent: str | None = None
