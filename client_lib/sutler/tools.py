"""A model that calls functions, until it answers: the conversation, kept without any I/O.

`ToolRun` says what to ask next and takes what was answered; the clients ask, and call the
functions. What a function raises is the model's to know: it is told as the result.
"""

from json import dumps, loads

from sutler.errors import InvalidOutput

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Union

    from sutler.options import Conversation, Function
    from sutler.types import Completion, ToolCall

MAX_ROUNDS = 10
_MAX_TOLD_CHARS = 2000
#: Choices that would make the model call functions for ever.
_FREE = ("auto", "none")


class Wanted:
    """One call of a function that is to be made: ``tool(**arguments)``.

    ``problem`` says why it cannot be made; then nothing is called.
    """

    __slots__ = ("arguments", "id", "problem", "tool")

    def __init__(
        self,
        id: str,
        tool: "Optional[Callable[..., Any]]",
        arguments: "Dict[str, Any]",
        problem: "Optional[str]",
    ) -> None:
        self.id = id
        self.tool = tool
        self.arguments = arguments
        self.problem = problem

    def run(self) -> str:
        """Call the function here and now; give what the model is told."""
        if self.tool is None or self.problem is not None:
            return failure_text(self.problem or "no such function")
        try:
            result = self.tool(**self.arguments)
        except Exception as error:  # noqa: BLE001  whatever it is, the model is told
            return failure_text(error)
        if hasattr(result, "close") and hasattr(result, "__await__"):
            result.close()
            raise TypeError("%r is a coroutine function: use AsyncClient" % (self.tool,))
        return result_text(result)


class ToolRun:
    """One run of `run_tools`. ``messages`` is the whole conversation so far."""

    def __init__(
        self,
        messages: "Conversation",
        tools: "Mapping[str, Callable[..., Any]]",
        functions: "Optional[Sequence[Function]]",
        max_rounds: int,
        options: "Mapping[str, Any]",
    ) -> None:
        from sutler.calls import conversation

        if not tools:
            raise TypeError("run_tools() needs functions to call")
        if max_rounds < 1:
            raise ValueError("max_rounds: must be 1 or more")
        self._tools = dict(tools)
        self._options = dict(options)
        self.messages: "List[Dict[str, Any]]" = conversation(
            messages, self._options.pop("system", None)
        )
        self._functions = described(self._tools) if functions is None else list(functions)
        self._choice = self._options.pop("function_call", None)
        self._request_id = self._options.pop("request_id", None)
        self._max_rounds = max_rounds
        self._rounds = 0

    def options(self) -> "Dict[str, Any]":
        """Give what the next round is asked with, besides ``messages``."""
        self._rounds += 1
        options = dict(self._options, functions=self._functions, function_call=self._choice)
        if self._request_id is not None:
            options["request_id"] = "%s.%d" % (self._request_id, self._rounds)
        return options

    def wanted(self, reply: "Completion") -> "List[Wanted]":
        """Take a reply; give the calls it asks for, none if it is the answer.

        Raises InvalidOutput if the rounds are used up; its ``data["messages"]`` is the
        conversation.
        """
        calls = reply.tool_calls
        if not calls:
            return []
        if self._rounds >= self._max_rounds:
            raise InvalidOutput(
                "the model still calls functions after %d rounds" % self._rounds,
                data={"messages": self.messages},
            )
        self.messages.append(said(reply))
        if self._choice not in _FREE:
            self._choice = None
        return [self._wanted(call) for call in calls]

    def told(self, wanted: "Sequence[Wanted]", texts: "Sequence[str]") -> None:
        """Add the results to the conversation."""
        for one, text in zip(wanted, texts):
            self.messages.append({"role": "tool", "tool_call_id": one.id, "content": text})

    def _wanted(self, call: "ToolCall") -> Wanted:
        tool = self._tools.get(call.name)
        arguments, problem = {}, None
        if tool is None:
            problem = "there is no function %s; there are: %s" % (
                call.name,
                ", ".join(sorted(self._tools)),
            )
        else:
            try:
                arguments = loads(call.arguments or "{}")
            except ValueError as error:
                problem = "the arguments are not JSON: %s" % error
            if problem is None:
                problem = _misfit(tool, arguments, self._schema_of(call.name))
        return Wanted(call.id, tool, arguments, problem)

    def _schema_of(self, name: str) -> "Any":
        """Give what the model was told of a function's arguments, if it was told."""
        for function in self._functions:
            told = function.to_dict() if hasattr(function, "to_dict") else function
            if isinstance(told, dict) and told.get("name") == name:
                return told.get("parameters")
        return None


def said(reply: "Completion") -> "Dict[str, Any]":
    """Give a reply as the assistant's message in the conversation that goes on."""
    message: "Dict[str, Any]" = {"role": "assistant", "content": reply.content or None}
    message["tool_calls"] = [
        {
            "id": call.id,
            "type": "function",
            "function": {"name": call.name, "arguments": call.arguments},
        }
        for call in reply.tool_calls
    ]
    if reply.reasoning_state is not None:
        message["reasoning_state"] = reply.reasoning_state
    return message


def described(tools: "Mapping[str, Callable[..., Any]]") -> "List[Dict[str, Any]]":
    """Give the functions' definitions from their signatures."""
    from sutler.signatures import function_of

    return [function_of(tool, name) for name, tool in tools.items()]


def definitions(functions: "Sequence[Union[Function, Callable[..., Any]]]") -> "List[Any]":
    """Give definitions; of a function its signature's."""
    from sutler.signatures import function_of

    return [
        function_of(one) if callable(one) and not hasattr(one, "to_dict") else one
        for one in functions
    ]


def result_text(result: "Any") -> str:
    """Give what a model is told of a result: a text as it is, all else as JSON.

    Raises TypeError for what JSON cannot say, which no model can help.
    """
    if isinstance(result, str):
        return result
    if hasattr(result, "to_dict"):
        result = result.to_dict()
    return dumps(result, ensure_ascii=False)


def failure_text(error: "Union[BaseException, str]") -> str:
    told = error if isinstance(error, str) else "%s: %s" % (type(error).__name__, error)
    return dumps({"error": told[:_MAX_TOLD_CHARS]}, ensure_ascii=False)


def _misfit(tool: "Callable[..., Any]", arguments: "Any", schema: "Any") -> "Optional[str]":
    """Say why a function is not called: its schema first, for that is what the model was told."""
    from inspect import signature

    from sutler.fits import misfits

    if not isinstance(arguments, dict):
        return "the arguments must be a JSON object"
    wrong = misfits(schema, arguments)
    if wrong:
        return "the arguments do not fit: %s" % "; ".join(wrong)
    try:
        signature(tool).bind(**arguments)
    except TypeError as error:
        return str(error)
    except ValueError:
        return None  # a builtin that does not tell its signature: it will say so itself
    return None
