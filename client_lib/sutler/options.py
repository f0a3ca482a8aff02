"""The options of calls, as type checkers see them. Imported by nobody at run time.

A test holds these names to the ones that `sutler.calls` accepts. An option that is None
counts as not given.
"""

from typing import TYPE_CHECKING, Any, Dict, List, Mapping, Optional, Sequence, TypedDict, Union

if TYPE_CHECKING:
    from sutler.messages import FunctionDefinition, Message

    Conversation = Union[str, Message, Dict[str, Any], Sequence[Union[Message, Dict[str, Any]]]]
    Function = Union[FunctionDefinition, Dict[str, Any]]


class CommonOptions(TypedDict, total=False):
    """What every call to a model takes.

    ``cache`` is ``on``, ``off``, ``read_only``, ``write_only`` or ``only``; ``lane`` is
    ``interactive``, ``normal`` or ``background``; ``timeout_s`` bounds waiting and answering.
    ``request_id`` makes asking twice safe for 24 hours; without one a fresh one is sent.
    """

    model: Optional[str]
    provider: Optional[str]
    extra: Optional[Mapping[str, Any]]
    cache: Optional[str]
    cache_ttl_s: Optional[float]
    timeout_s: Optional[float]
    request_id: Optional[str]
    lane: Optional[str]
    labels: Optional[Mapping[str, str]]
    fallback: Union[bool, List[str], None]
    user: Optional[str]


class EmbedOptions(CommonOptions, total=False):
    dimensions: Optional[int]


class PlainOptions(CommonOptions, total=False):
    """What every call that is answered by a model takes, whatever its answer is.

    ``sample`` asks for the n-th independent answer to the same prompt.
    """

    temperature: Optional[float]
    top_p: Optional[float]
    max_tokens: Optional[int]
    max_completion_tokens: Optional[int]
    stop: Union[str, Sequence[str], None]
    seed: Optional[int]
    metadata: Optional[Mapping[str, Any]]
    response_format: Optional[Mapping[str, Any]]
    json_mode: Optional[bool]
    sample: Optional[int]


class AnswerOptions(PlainOptions, total=False):
    functions: "Optional[Sequence[Function]]"
    function_call: Union[str, Mapping[str, Any], None]
    tools: Optional[Sequence[Mapping[str, Any]]]
    tool_choice: Union[str, Mapping[str, Any], None]


class ChatOptions(AnswerOptions, total=False):
    schema: Optional[Mapping[str, Any]]


#: What a template's run takes: the same, as the template brings the system's message.
PromptOptions = ChatOptions


class JsonOptions(PlainOptions, total=False):
    system: Optional[str]


class CallOptions(PlainOptions, total=False):
    """What calls of functions take, besides the functions."""

    system: Optional[str]
    schema: Optional[Mapping[str, Any]]


class RunOptions(CallOptions, total=False):
    function_call: Union[str, Mapping[str, Any], None]


class CompleteOptions(ChatOptions, total=False):
    system: Optional[str]
