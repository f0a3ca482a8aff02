"""The parameters of the methods that cost something, as the wire allows them.

Here is only shape: types, ranges, names. What needs the configuration (routes, limits,
defaults) is resolved later. Every problem of one request is reported at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
    StringConstraints,
    ValidationError,
)

from sutlerd.domain.call import MAX_LABELS
from sutlerd.domain.errors import InvalidParams
from sutlerd.pipeline.nearest import nearest

MAX_TOKENS_LIMIT = 10_000_000
MAX_TEXT_BYTES = 15 * 1024 * 1024

Number = StrictFloat | StrictInt
Text = Annotated[StrictStr, StringConstraints(min_length=1)]
RequestName = Annotated[StrictStr, StringConstraints(pattern=r"^[A-Za-z0-9._:/+=-]{1,128}$")]
FunctionName = Annotated[StrictStr, StringConstraints(pattern=r"^[a-zA-Z0-9_-]{1,64}$")]


def _no_climbing(route: str) -> str:
    if ".." in route:
        raise ValueError("'..' is no part of a model's name")
    return route


RouteName = Annotated[
    StrictStr,
    StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,199}$"),
    AfterValidator(_no_climbing),
]
LabelText = Annotated[StrictStr, StringConstraints(max_length=256)]
LabelName = Annotated[StrictStr, StringConstraints(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]


class _Shape(BaseModel):
    model_config = ConfigDict(extra="forbid", defer_build=True, allow_inf_nan=False)


class FunctionSpec(_Shape):
    name: FunctionName
    description: StrictStr | None = None
    parameters: dict[str, Any] = Field(default_factory=lambda: {"type": "object"})
    strict: StrictBool | None = None


class ToolSpec(_Shape):
    type: Literal["function"]
    function: FunctionSpec


class NamedFunction(_Shape):
    name: FunctionName


class NamedTool(_Shape):
    type: Literal["function"]
    function: NamedFunction


class JsonSchemaSpec(_Shape):
    name: StrictStr | None = None
    description: StrictStr | None = None
    json_schema: dict[str, Any] = Field(alias="schema")
    strict: StrictBool | None = None


class ResponseFormat(_Shape):
    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchemaSpec | None = None


class Options(_Shape):
    """What every call for a reply may say, whatever its method."""

    is_json: ClassVar[bool] = False
    needs_functions: ClassVar[bool] = False

    model: RouteName | None = None
    provider: RouteName | None = None
    temperature: Annotated[Number, Field(ge=0, le=2)] | None = None
    top_p: Annotated[Number, Field(gt=0, le=1)] | None = None
    max_tokens: Annotated[StrictInt, Field(ge=1, le=MAX_TOKENS_LIMIT)] | None = None
    max_completion_tokens: Annotated[StrictInt, Field(ge=1, le=MAX_TOKENS_LIMIT)] | None = None
    stop: Text | Annotated[list[Text], Field(max_length=16)] | None = None
    seed: Annotated[StrictInt, Field(ge=-(2**63), le=2**63 - 1)] | None = None
    user: Annotated[StrictStr, StringConstraints(max_length=256)] | None = None
    metadata: dict[str, Any] | None = None
    functions: Annotated[list[FunctionSpec], Field(max_length=512)] | None = None
    function_call: Literal["auto", "none", "required"] | NamedFunction | FunctionName | None = None
    tools: Annotated[list[ToolSpec], Field(max_length=512)] | None = None
    tool_choice: Literal["auto", "none", "required"] | NamedTool | None = None
    parallel_tool_calls: StrictBool | None = None
    response_format: ResponseFormat | None = None
    json_mode: StrictBool = False
    json_schema: dict[str, Any] | None = Field(default=None, alias="schema")
    stream: StrictBool = False
    extra: dict[str, Any] = Field(default_factory=dict)

    cache: Literal["on", "off", "read_only", "write_only", "only"] | None = None
    cache_ttl_s: Annotated[Number, Field(ge=0)] | None = None
    sample: Annotated[StrictInt, Field(ge=0, le=2**31)] | None = None
    request_id: RequestName | None = None
    timeout_s: Annotated[Number, Field(gt=0)] | None = None
    lane: Literal["interactive", "normal", "background"] = "normal"
    fallback: StrictBool | Annotated[list[RouteName], Field(max_length=16)] | None = None
    labels: Annotated[dict[LabelName, LabelText | StrictInt], Field(max_length=MAX_LABELS)] = Field(
        default_factory=dict
    )


class CompleteParams(Options):
    messages: Annotated[list[dict[str, Any]], Field(min_length=1, max_length=100_000)] | None = None
    prompt: Text | None = None
    system: Text | None = None


class ChatParams(Options):
    prompt: Text
    system: Text | None = None


TemplateName = Annotated[StrictStr, StringConstraints(min_length=1, max_length=256)]
#: Values of a template's variables: any JSON.
Values = Annotated[dict[StrictStr, Any], Field(max_length=1024)]


class RunParams(Options):
    """A template by name and its variables; all else as for any call."""

    name: TemplateName
    variables: Values = Field(default_factory=dict)


class RenderParams(_Shape):
    name: TemplateName
    variables: Values = Field(default_factory=dict)


class JsonParams(CompleteParams):
    """A call for a value takes no functions: it is not answered by a call of one."""

    is_json: ClassVar[bool] = True

    functions: None = None
    tools: None = None
    function_call: None = None
    tool_choice: None = None


class FunctionCallParams(CompleteParams):
    needs_functions: ClassVar[bool] = True
    messages: Annotated[list[dict[str, Any]], Field(min_length=1, max_length=100_000)]


class EmbedParams(_Shape):
    texts: Annotated[list[StrictStr], Field(min_length=1)]
    model: RouteName | None = None
    provider: RouteName | None = None
    dimensions: Annotated[StrictInt, Field(ge=1, le=65_536)] | None = None
    encoding_format: Literal["float", "base64"] = "float"
    extra: dict[str, Any] = Field(default_factory=dict)
    metadata: dict[str, Any] | None = None
    user: Annotated[StrictStr, StringConstraints(max_length=256)] | None = None
    cache: Literal["on", "off", "read_only", "write_only", "only"] | None = None
    cache_ttl_s: Annotated[Number, Field(ge=0)] | None = None
    request_id: RequestName | None = None
    timeout_s: Annotated[Number, Field(gt=0)] | None = None
    lane: Literal["interactive", "normal", "background"] = "normal"
    labels: Annotated[dict[LabelName, LabelText | StrictInt], Field(max_length=MAX_LABELS)] = Field(
        default_factory=dict
    )


class CountTokensParams(_Shape):
    """``ask_provider`` lets the provider count where it offers that, over the network."""

    ask_provider: StrictBool = False
    text: StrictStr | None = None
    messages: Annotated[list[dict[str, Any]], Field(min_length=1, max_length=100_000)] | None = None
    model: RouteName | None = None
    provider: RouteName | None = None
    timeout_s: Annotated[Number, Field(gt=0)] | None = None
    request_id: RequestName | None = None


#: What each method that is answered by a reply to messages takes.
SHAPES: Mapping[str, type[CompleteParams]] = {
    "complete": CompleteParams,
    "json": JsonParams,
    "function_call": FunctionCallParams,
}

Shape = TypeVar("Shape", bound=BaseModel)


def parse(shape: type[Shape], params: Mapping[str, Any]) -> Shape:
    """Check the shape; raise ``InvalidParams`` with every problem and its path."""
    try:
        return shape.model_validate(params)
    except ValidationError as error:
        raise InvalidParams(_problems(shape, error)) from None


def _problems(shape: type[BaseModel], error: ValidationError) -> list[str]:
    known = {field.alias or name for name, field in shape.model_fields.items()}
    problems: dict[str, None] = {}
    for detail in error.errors(include_url=False, include_input=False, include_context=True):
        path = "params" + "".join(_step(step) for step in _visible(detail["loc"], known))
        if detail["type"] == "extra_forbidden":
            name = str(detail["loc"][-1])
            near = nearest(name, known) if len(detail["loc"]) == 1 else None
            hint = f"; did you mean {near}?" if near else ""
            problems[f"{path}: no such parameter{hint}"] = None
        else:
            problems[f"{path}: {_plain(detail['msg'])}"] = None
    return list(problems)


def _visible(loc: tuple[int | str, ...], known: set[str]) -> Iterable[int | str]:
    """Leave out the names pydantic gives to the branches of a union."""
    for place, step in enumerate(loc):
        if place and isinstance(step, str) and not _is_member_name(step):
            continue
        yield step


def _is_member_name(step: str) -> bool:
    branch = ("[", "(", "-")
    return not any(mark in step for mark in branch) and step not in _BRANCHES


_BRANCHES = frozenset({"str", "int", "float", "bool", "NamedFunction", "NamedTool", "strict"})


def _step(step: int | str) -> str:
    return f"[{step}]" if isinstance(step, int) else f".{step[:100]}"


def _plain(message: str) -> str:
    message = message.removeprefix("Value error, ").removeprefix("Input ")
    return (
        message.replace("should be greater than or equal to", "must be ≥")
        .replace("should be less than or equal to", "must be ≤")
        .replace("should be greater than", "must be >")
        .replace("should be", "must be")
    )
