"""The JSON Schema of a Python function's parameters, from its annotations. Pure.

Understood are the types that JSON has, lists and dicts of them, tuples, optional ones, unions,
``Literal`` and ``TypedDict``; a text in ``Annotated[str, "the city's name"]`` describes a
parameter. What JSON cannot say is a TypeError that names the parameter.
"""

import inspect
import typing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, List

_PLAIN = {
    str: {"type": "string"},
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": "number"},
    type(None): {"type": "null"},
    list: {"type": "array"},
    tuple: {"type": "array"},
    dict: {"type": "object"},
}


def function_of(tool: "Callable[..., Any]", name: "str" = "") -> "Dict[str, Any]":
    """Give ``{name, description, parameters}``, the description from the docstring's first
    paragraph. Raises TypeError for a signature that JSON cannot say."""
    function: "Dict[str, Any]" = {"name": name or getattr(tool, "__name__", type(tool).__name__)}
    described = inspect.cleandoc(getattr(tool, "__doc__", None) or "").split("\n\n")[0]
    if described:
        function["description"] = " ".join(described.split())
    function["parameters"] = parameters_of(tool, function["name"])
    return function


def parameters_of(tool: "Callable[..., Any]", name: str) -> "Dict[str, Any]":
    """Give the schema of an object that holds the arguments; those with defaults may be left
    out, others may not be added unless the function takes ``**others``."""
    hints = _hints(tool)
    properties: "Dict[str, Any]" = {}
    required: "List[str]" = []
    open_ended = False
    for parameter in inspect.signature(tool).parameters.values():
        where = "%s(%s)" % (name, parameter.name)
        if parameter.kind is parameter.VAR_KEYWORD:
            open_ended = True
            continue
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.VAR_POSITIONAL):
            raise TypeError("%s: a model gives arguments by name; give functions=" % where)
        properties[parameter.name] = _schema(hints.get(parameter.name, typing.Any), where)
        if parameter.default is parameter.empty:
            required.append(parameter.name)
    schema: "Dict[str, Any]" = {"type": "object", "properties": properties}
    if required:
        schema["required"] = required
    if not open_ended:
        schema["additionalProperties"] = False
    return schema


def _hints(tool: "Any") -> "Dict[str, Any]":
    while hasattr(tool, "func") and hasattr(tool, "keywords"):  # functools.partial
        tool = tool.func
    if not inspect.isroutine(tool):
        tool = type(tool).__call__
    if hasattr(typing, "Annotated"):
        return typing.get_type_hints(tool, include_extras=True)
    return typing.get_type_hints(tool)


def _schema(hint: "Any", where: str) -> "Dict[str, Any]":
    if hint is typing.Any:
        return {}
    if hint in _PLAIN:
        return dict(_PLAIN[hint])
    if hasattr(hint, "__metadata__"):  # Annotated
        described = [text for text in hint.__metadata__ if isinstance(text, str)]
        schema = _schema(hint.__origin__, where)
        return dict(schema, description=described[0]) if described else schema
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Union or type(hint).__name__ == "UnionType":
        return _union([_schema(each, where) for each in inner])
    if origin is typing.Literal:
        return {"enum": list(inner)}
    if origin is dict:
        if inner[0] is not str:
            raise TypeError("%s: the names of an object are strings; give functions=" % where)
        return {"type": "object", "additionalProperties": _schema(inner[1], where)}
    if origin is tuple and inner and inner[-1] is not ...:
        schemas = [_schema(each, where) for each in inner]
        size = len(schemas)
        return {"type": "array", "prefixItems": schemas, "minItems": size, "maxItems": size}
    if _is_list(origin):
        return {"type": "array", "items": _schema(inner[0], where)} if inner else {"type": "array"}
    if hasattr(hint, "__total__") and hasattr(hint, "__annotations__"):  # TypedDict
        return _typed_dict(hint, where)
    raise TypeError("%s: %r has no JSON Schema; give functions=" % (where, hint))


def _is_list(origin: "Any") -> bool:
    from collections import abc

    return origin in (list, tuple, abc.Sequence, abc.Iterable, abc.Collection, abc.MutableSequence)


def _union(schemas: "List[Dict[str, Any]]") -> "Dict[str, Any]":
    if all(set(schema) == {"type"} for schema in schemas):
        return {"type": [schema["type"] for schema in schemas]}
    return {"anyOf": schemas}


def _typed_dict(hint: "Any", where: str) -> "Dict[str, Any]":
    hints = typing.get_type_hints(hint)
    named = {name: _schema(each, "%s.%s" % (where, name)) for name, each in hints.items()}
    # Python 3.8 knows only whether all or none are required.
    required = sorted(getattr(hint, "__required_keys__", hints if hint.__total__ else ()))
    schema: "Dict[str, Any]" = {"type": "object", "properties": named}
    if required:
        schema["required"] = required
    schema["additionalProperties"] = False
    return schema
