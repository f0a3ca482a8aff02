"""What comes out: replies, pieces of streams, vectors, counts.

Values only; nothing here knows of sockets. Each keeps the object as the daemon sent it and
reads it when asked: making one costs next to nothing, ``to_dict`` gives back every field,
and a newer daemon's unknown fields are carried along.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from array import array
    from typing import Any, Dict, Iterator, List, Optional


class _Wire:
    """An object of the wire, read when asked."""

    __slots__ = ("_wire",)

    def __init__(self, wire: "Dict[str, Any]") -> None:
        if not isinstance(wire, dict):
            raise TypeError("%s is no object" % type(wire).__name__)
        self._wire = wire

    def to_dict(self) -> "Dict[str, Any]":
        return dict(self._wire)

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return bool(self._wire == other._wire)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        shown = ("%s=%r" % pair for pair in self._wire.items() if pair[1] is not None)
        return "%s(%s)" % (type(self).__name__, ", ".join(shown))


class Usage(_Wire):
    """Counts of model tokens; None where the provider did not say.

    ``prompt_tokens`` is the whole prompt, cached part included; ``completion_tokens`` is
    all that was produced, reasoning included.
    """

    __slots__ = ()

    @property
    def prompt_tokens(self) -> "Optional[int]":
        return self._wire.get("prompt_tokens")

    @property
    def cached_tokens(self) -> "Optional[int]":
        return self._wire.get("cached_tokens")

    @property
    def cache_write_tokens(self) -> "Optional[int]":
        return self._wire.get("cache_write_tokens")

    @property
    def completion_tokens(self) -> "Optional[int]":
        return self._wire.get("completion_tokens")

    @property
    def reasoning_tokens(self) -> "Optional[int]":
        return self._wire.get("reasoning_tokens")

    @property
    def total_tokens(self) -> "Optional[int]":
        return self._wire.get("total_tokens")


class ToolCall(_Wire):
    """A function the model wants called; ``arguments`` is a JSON string, as the model wrote it."""

    __slots__ = ()

    @property
    def id(self) -> str:
        return str(self._wire.get("id", ""))

    @property
    def name(self) -> str:
        return str(self._wire["function"]["name"])

    @property
    def arguments(self) -> str:
        return str(self._wire["function"]["arguments"])

    def parsed_arguments(self) -> "Any":
        """Decode ``arguments``; raises ValueError if the model wrote what is not JSON."""
        from json import loads

        return loads(self.arguments)


class Completion(_Wire):
    """A whole reply. ``model`` and ``provider`` are those that served it.

    ``cost_nanousd`` and ``saved_nanousd`` are billionths of a dollar; ``latency_ms`` is the
    daemon's own measure; ``trace`` tells where the time went.
    """

    __slots__ = ()

    @property
    def content(self) -> str:
        """The answer's text; empty if the model only called functions."""
        return self._wire.get("content") or ""

    @property
    def finish_reason(self) -> str:
        return str(self._wire.get("finish_reason"))

    @property
    def tool_calls(self) -> "List[ToolCall]":
        return [ToolCall(call) for call in self._wire.get("tool_calls") or ()]

    @property
    def reasoning(self) -> "Optional[str]":
        return self._wire.get("reasoning")

    @property
    def reasoning_state(self) -> "Optional[Dict[str, Any]]":
        """What the provider wants back with the results of the calls, in the same member of the
        assistant's message; only the provider can read it."""
        return self._wire.get("reasoning_state")

    @property
    def parsed(self) -> "Any":
        return self._wire.get("parsed")

    @property
    def model(self) -> str:
        return str(self._wire.get("model"))

    @property
    def provider(self) -> str:
        return str(self._wire.get("provider"))

    @property
    def usage(self) -> Usage:
        return Usage(self._wire.get("usage") or {})

    @property
    def cost_nanousd(self) -> "Optional[int]":
        return self._wire.get("cost_nanousd")

    @property
    def saved_nanousd(self) -> "Optional[int]":
        return self._wire.get("saved_nanousd")

    @property
    def cached(self) -> bool:
        return bool(self._wire.get("cached"))

    @property
    def coalesced(self) -> bool:
        return bool(self._wire.get("coalesced"))

    @property
    def latency_ms(self) -> "Optional[float]":
        return self._wire.get("latency_ms")

    @property
    def request_id(self) -> "Optional[str]":
        return self._wire.get("request_id")

    @property
    def prompt(self) -> "Optional[Dict[str, str]]":
        """The template that was run: its ``name``, ``version`` and ``hash``."""
        return self._wire.get("prompt")

    @property
    def trace(self) -> "Dict[str, Any]":
        return self._wire.get("trace") or {}

    def __str__(self) -> str:
        return self.content


class Rendered(_Wire):
    """A template with its values: ``messages`` in the wire's shape.

    ``schema`` is the JSON Schema that its answer has, ``defaults`` what it says about the call.
    """

    __slots__ = ()

    @property
    def messages(self) -> "List[Dict[str, Any]]":
        return list(self._wire["messages"])

    @property
    def name(self) -> str:
        return str(self._wire["name"])

    @property
    def version(self) -> str:
        return str(self._wire["version"])

    @property
    def hash(self) -> str:
        """The name, in hexadecimal digits, of all in this version that can change an answer."""
        return str(self._wire["hash"])

    @property
    def schema(self) -> "Optional[Dict[str, Any]]":
        return self._wire.get("schema")

    @property
    def defaults(self) -> "Dict[str, Any]":
        return self._wire.get("defaults") or {}


class Chunk(_Wire):
    """One piece of a stream: some of the content, of the reasoning, or of tool calls."""

    __slots__ = ()

    @property
    def content(self) -> str:
        """What the answer's text goes on with; may be empty. ``delta`` on the wire."""
        return self._wire.get("delta") or ""

    @property
    def reasoning(self) -> str:
        return self._wire.get("reasoning") or ""

    @property
    def tool_calls(self) -> "List[Dict[str, Any]]":
        """Fragments in the wire's shape, to be joined by their ``index``."""
        return list(self._wire.get("tool_calls") or ())

    def __str__(self) -> str:
        return self.content


class TokenCount(_Wire):
    """``tokens``, whether that is ``exact``, and the ``method`` it was counted with."""

    __slots__ = ()

    @property
    def tokens(self) -> int:
        return int(self._wire["tokens"])

    @property
    def exact(self) -> bool:
        return bool(self._wire.get("exact"))

    @property
    def method(self) -> "Optional[str]":
        return self._wire.get("method")

    def __int__(self) -> int:
        return self.tokens


class Embeddings(_Wire):
    """Vectors in the order of the texts: ``rows[i]`` is an ``array('f')`` of ``dimension``.

    Also a sequence of its rows. ``cached`` counts the texts that cost nothing.
    ``to_dict`` gives the rows as lists of floats.
    """

    __slots__ = ("rows",)

    def __init__(self, wire: "Dict[str, Any]", rows: "List[array[float]]") -> None:
        self._wire = wire
        self.rows = rows

    @property
    def model(self) -> str:
        return str(self._wire.get("model"))

    @property
    def provider(self) -> str:
        return str(self._wire.get("provider"))

    @property
    def dimension(self) -> int:
        return int(self._wire.get("dimension") or (len(self.rows[0]) if self.rows else 0))

    @property
    def usage(self) -> Usage:
        return Usage(self._wire.get("usage") or {})

    @property
    def cost_nanousd(self) -> "Optional[int]":
        return self._wire.get("cost_nanousd")

    @property
    def cached(self) -> int:
        return int(self._wire.get("cached") or 0)

    @property
    def request_id(self) -> "Optional[str]":
        return self._wire.get("request_id")

    def to_dict(self) -> "Dict[str, Any]":
        return dict(self._wire, embeddings=[row.tolist() for row in self.rows])

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> "array[float]":
        return self.rows[index]

    def __iter__(self) -> "Iterator[array[float]]":
        return iter(self.rows)

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self.rows == other.rows and bool(self._wire == other._wire)

    __hash__ = None

    def __repr__(self) -> str:
        return "Embeddings(%d rows of %d, model=%r, cached=%d)" % (
            len(self.rows),
            self.dimension,
            self.model,
            self.cached,
        )
