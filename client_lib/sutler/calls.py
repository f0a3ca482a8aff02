"""What is asked: every method's parameters built, and its result read. Pure; no I/O, no clock.

Both clients are thin shells over these functions, so that they cannot differ in what they
send or in what they make of an answer.
"""

from sutler.errors import InternalError, InvalidParams
from sutler.types import Completion, Embeddings, Rendered, TokenCount

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, FrozenSet, List, Mapping, Optional, Sequence, Union

    from sutler.options import Conversation

_HARMLESS = frozenset(
    (
        *("ping", "hello", "status", "queue", "usage", "budget", "report", "models"),
        *("count_tokens", "cache.stats", "cache.clear"),
        *("prompts.list", "prompts.render", "prompts.check"),
    )
)
#: Methods that a model answers: they take a ``request_id``, so asking twice buys once.
_ANSWERED = frozenset(("complete", "chat", "json", "function_call", "embed", "prompts.run"))

_COMMON = (
    *("model", "provider", "extra", "cache", "cache_ttl_s", "timeout_s", "request_id"),
    *("lane", "labels", "fallback", "user"),
)
EMBED_OPTIONS = frozenset((*_COMMON, "dimensions"))
COMPLETE_OPTIONS = frozenset(
    (
        *_COMMON,
        *("system", "temperature", "top_p", "max_tokens", "max_completion_tokens", "stop"),
        *("seed", "metadata", "functions", "function_call", "tools", "tool_choice"),
        *("response_format", "json_mode", "schema", "sample"),
    )
)
PROMPT_OPTIONS = COMPLETE_OPTIONS - {"system"}


_ATOMS = frozenset((str, int, float, bool, dict))


class Defaults:
    """What one client adds to every call. ``new_id`` makes a request id."""

    __slots__ = ("labels", "new_id", "timeout_s")

    def __init__(
        self, timeout_s: float, labels: "Mapping[str, str]", new_id: "Callable[[], str]"
    ) -> None:
        self.timeout_s = timeout_s
        self.labels = labels
        self.new_id = new_id


class Call:
    """One call with nothing left to look up.

    ``timeout_s`` bounds it here; it is sent along if ``tells_time``. ``repeatable`` says
    that sending it twice cannot do anything twice. ``read`` makes the value of the result.
    """

    __slots__ = ("method", "params", "read", "repeatable", "tells_time", "timeout_s")

    def __init__(
        self,
        method: str,
        params: "Dict[str, Any]",
        timeout_s: float,
        read: "Callable[[Any], Any]",
    ) -> None:
        self.method = method
        self.params = params
        self.timeout_s = timeout_s
        self.read = read
        self.tells_time = method in _ANSWERED
        self.repeatable = method in _HARMLESS or "request_id" in params

    def value(self, result: "Any") -> "Any":
        """Read a result; one that lacks what its method promises is an error of its own."""
        try:
            return self.read(result)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            what = "%s: %s" % (type(error).__name__, error)
            message = "the daemon's result of %s is broken: %s" % (self.method, what)
            raise InternalError(message) from None


def complete(
    asked: "Conversation", options: "Dict[str, Any]", defaults: Defaults, *, stream: bool = False
) -> Call:
    params = _conversation(asked, options.pop("system", None))
    if stream:
        params["stream"] = True
    return _answered("complete", params, options, COMPLETE_OPTIONS, defaults, Completion)


def chat(
    prompt: str, system: "Optional[str]", options: "Dict[str, Any]", defaults: Defaults
) -> Call:
    params: "Dict[str, Any]" = {"prompt": prompt}
    if system is not None:
        params["system"] = system
    return _answered("chat", params, options, COMPLETE_OPTIONS, defaults, _content)


def json(
    asked: "Conversation", schema: "Any", options: "Dict[str, Any]", defaults: Defaults
) -> Call:
    params = _conversation(asked, options.pop("system", None))
    if schema is not None:
        params["schema"] = schema
    return _answered("json", params, options, COMPLETE_OPTIONS, defaults, _parsed)


def prompt(
    name: str,
    variables: "Optional[Mapping[str, Any]]",
    more: "Mapping[str, Any]",
    options: "Optional[Mapping[str, Any]]",
    defaults: Defaults,
) -> Call:
    params = _template(name, variables, more)
    return _answered(
        "prompts.run", params, dict(options or {}), PROMPT_OPTIONS, defaults, Completion
    )


def render(
    name: str,
    variables: "Optional[Mapping[str, Any]]",
    more: "Mapping[str, Any]",
    defaults: Defaults,
) -> Call:
    params = _template(name, variables, more)
    return Call("prompts.render", params, defaults.timeout_s, Rendered)


def function_call(
    asked: "Conversation",
    functions: "Sequence[Any]",
    choice: "Any",
    options: "Dict[str, Any]",
    defaults: Defaults,
) -> Call:
    from sutler.tools import definitions

    params: "Dict[str, Any]" = {"messages": conversation(asked, options.pop("system", None))}
    options["functions"] = definitions(functions)
    options["function_call"] = choice
    return _answered("function_call", params, options, COMPLETE_OPTIONS, defaults, Completion)


def embed(
    texts: "Union[str, Sequence[str]]", options: "Dict[str, Any]", defaults: Defaults
) -> Call:
    listed = [texts] if isinstance(texts, str) else list(texts)
    params = {"texts": listed, "encoding_format": "base64"}
    return _answered("embed", params, options, EMBED_OPTIONS, defaults, embeddings)


def count_tokens(
    asked: "Conversation", model: "Optional[str]", timeout_s: "Optional[float]", defaults: Defaults
) -> Call:
    params = _conversation(asked, None)
    if "prompt" in params:
        params["text"] = params.pop("prompt")
    if model is not None:
        params["model"] = model
    return Call("count_tokens", params, _limit(timeout_s, defaults), TokenCount)


def plain(
    method: str,
    params: "Optional[Mapping[str, Any]]",
    timeout_s: "Optional[float]",
    defaults: Defaults,
    read: "Optional[Callable[[Any], Any]]" = None,
) -> Call:
    """Make a call of any method; those that a model answers get what they always get."""
    copy = {} if params is None else dict(params)
    if timeout_s is None and method in _ANSWERED:
        timeout_s = copy.get("timeout_s")
    if method in _ANSWERED:
        _address(copy, defaults)
    return Call(method, copy, _limit(timeout_s, defaults), read or _same)


def introduction(labels: "Mapping[str, str]") -> "Dict[str, Any]":
    """Give the parameters of ``hello``."""
    from sutler import __version__

    params: "Dict[str, Any]" = {"client": "sutler-python", "version": __version__}
    if labels:
        params["labels"] = dict(labels)
    return params


def _answered(
    method: str,
    params: "Dict[str, Any]",
    options: "Dict[str, Any]",
    allowed: "FrozenSet[str]",
    defaults: Defaults,
    read: "Callable[[Any], Any]",
) -> Call:
    timeout_s = options.pop("timeout_s", None)
    for name, value in options.items():
        if name not in allowed:
            raise TypeError(_unknown(method, name, allowed))
        if value is not None:
            params[name] = value if value.__class__ in _ATOMS else _plain(value)
    _address(params, defaults)
    return Call(method, params, _limit(timeout_s, defaults), read)


def _address(params: "Dict[str, Any]", defaults: Defaults) -> None:
    if params.get("request_id") is None:
        params["request_id"] = defaults.new_id()
    if defaults.labels:
        params["labels"] = dict(defaults.labels, **(params.get("labels") or {}))


def _conversation(asked: "Conversation", system: "Optional[str]") -> "Dict[str, Any]":
    """Give ``prompt`` and ``system``, or ``messages`` with the system's first."""
    if isinstance(asked, str):
        return {"prompt": asked} if system is None else {"prompt": asked, "system": system}
    return {"messages": conversation(asked, system)}


def conversation(asked: "Conversation", system: "Optional[str]") -> "List[Dict[str, Any]]":
    """Give a prompt or messages as a new list of messages, the system's first."""
    if isinstance(asked, str):
        messages: "List[Dict[str, Any]]" = [{"role": "user", "content": asked}]
    elif isinstance(asked, dict) or hasattr(asked, "to_dict"):
        messages = [_plain(asked)]
    else:
        messages = [_plain(message) for message in asked]
    if system is not None:
        messages.insert(0, {"role": "system", "content": system})
    return messages


def _template(
    name: str, variables: "Optional[Mapping[str, Any]]", more: "Mapping[str, Any]"
) -> "Dict[str, Any]":
    """Give ``name`` and ``variables``; what is None is left to the template's default."""
    given = dict(variables or {}, **more)
    values = {key: _plain(value) for key, value in given.items() if value is not None}
    return {"name": name, "variables": values}


def _plain(value: "Any") -> "Any":
    """Turn this library's values into the wire's, in lists too; leave all else alone."""
    if isinstance(value, (str, int, float, dict)):
        return value
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value.to_dict() if hasattr(value, "to_dict") else value


def _limit(timeout_s: "Optional[float]", defaults: Defaults) -> float:
    if timeout_s is None:
        return defaults.timeout_s
    return seconds(timeout_s, "params.timeout_s")


def seconds(value: "Any", where: str) -> float:
    """Check a time limit: a number above 0 and below infinity."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise InvalidParams("%s: must be a number of seconds, not %r" % (where, value))
    if not 0 < value < float("inf"):
        raise InvalidParams("%s: must be above 0 and finite, not %r" % (where, value))
    return float(value)


def _unknown(method: str, name: str, allowed: "FrozenSet[str]") -> str:
    from difflib import get_close_matches

    near = get_close_matches(name, allowed, 1)
    hint = "; did you mean %r?" % near[0] if near else ""
    return "%s() has no option %r%s" % (method, name, hint)


def _same(result: "Any") -> "Any":
    return result


def an_object(result: "Any") -> "Dict[str, Any]":
    if not isinstance(result, dict):
        raise TypeError("%s is no object" % type(result).__name__)
    return result


def model_list(result: "Any") -> "List[Dict[str, Any]]":
    return [an_object(model) for model in an_object(result)["models"]]


def _content(result: "Dict[str, Any]") -> str:
    return result.get("content") or ""


def _parsed(result: "Dict[str, Any]") -> "Any":
    return result.get("parsed")


def embeddings(result: "Dict[str, Any]") -> Embeddings:
    """Decode the rows: base64 of little-endian float32, or lists of floats."""
    from array import array
    from binascii import a2b_base64
    from sys import byteorder

    rows = []
    for vector in result["embeddings"]:
        if isinstance(vector, str):
            row = array("f", a2b_base64(vector))
            if byteorder == "big":
                row.byteswap()
        else:
            row = array("f", vector)
        rows.append(row)
    if len({len(row) for row in rows}) > 1:
        raise ValueError("vectors of different lengths")
    return Embeddings({k: v for k, v in result.items() if k != "embeddings"}, rows)
