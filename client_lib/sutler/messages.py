"""What goes in: the messages of a conversation and the functions a model may call.

Values only. They are optional comfort: wherever one is taken, an object of the wire's shape
(a dict) is taken too. Loaded when first used.
"""

from enum import Enum

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, ClassVar, Dict, Optional, Sequence, Tuple, Union

    from sutler.types import ToolCall


class Role(str, Enum):
    SYSTEM = "system"
    DEVELOPER = "developer"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"
    FUNCTION = "function"

    def __str__(self) -> str:
        return str(self.value)


class _Value:
    """Equality, repr and ``to_dict`` from the slots; what is None is left out."""

    __slots__: "ClassVar[Tuple[str, ...]]" = ()

    def to_dict(self) -> "Dict[str, Any]":
        pairs = ((name, getattr(self, name)) for name in self.__slots__)
        return {name: _plain(value) for name, value in pairs if value is not None}

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in self.__slots__)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        shown = ("%s=%r" % pair for pair in self.to_dict().items())
        return "%s(%s)" % (type(self).__name__, ", ".join(shown))


def _plain(value: "Any") -> "Any":
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, Enum):
        return value.value
    return value.to_dict() if hasattr(value, "to_dict") else value


class Message(_Value):
    """One message of a conversation.

    ``content`` is a string or a list of parts in the wire's shape; ``tool_calls`` are those
    of an assistant's message, ``tool_call_id`` names the call that a tool's message answers.
    ``reasoning_state`` is that of the reply which the message repeats.
    """

    __slots__ = ("content", "name", "reasoning_state", "role", "tool_call_id", "tool_calls")

    def __init__(
        self,
        role: "Union[Role, str]",
        content: "Union[str, Sequence[Dict[str, Any]], None]",
        *,
        name: "Optional[str]" = None,
        tool_calls: "Optional[Sequence[Union[ToolCall, Dict[str, Any]]]]" = None,
        tool_call_id: "Optional[str]" = None,
        reasoning_state: "Optional[Dict[str, Any]]" = None,
    ) -> None:
        self.role = role
        self.content = content
        self.name = name
        self.tool_calls = tool_calls
        self.tool_call_id = tool_call_id
        self.reasoning_state = reasoning_state

    @classmethod
    def system(cls, content: str) -> "Message":
        return cls(Role.SYSTEM, content)

    @classmethod
    def user(cls, content: "Union[str, Sequence[Dict[str, Any]]]") -> "Message":
        return cls(Role.USER, content)

    @classmethod
    def assistant(cls, content: str) -> "Message":
        return cls(Role.ASSISTANT, content)


class FunctionDefinition(_Value):
    """A function that the model may call; ``parameters`` is a JSON schema of an object."""

    __slots__ = ("description", "name", "parameters", "strict")

    def __init__(
        self,
        name: str,
        description: "Optional[str]" = None,
        parameters: "Optional[Dict[str, Any]]" = None,
        *,
        strict: "Optional[bool]" = None,
    ) -> None:
        self.name = name
        self.description = description
        self.parameters = parameters
        self.strict = strict
