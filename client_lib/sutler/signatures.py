"""The JSON Schema of a Python function's parameters, from its annotations. Pure.

Understood are the types that JSON has, lists and dicts of them, tuples, optional ones, unions,
``Literal``, ``NewType`` and ``TypedDict``; a text in ``Annotated[str, "the city's name"]``
describes a parameter, and one without annotation takes anything. What JSON cannot say is a
TypeError that names the parameter: a function is called with what the model wrote, so a class
of Python's (a dataclass, an Enum) would not be what it is given.
"""

import inspect
import re
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


#: What providers take as the name of a function.
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
#: Deeper is a type that holds itself.
_MAX_DEPTH = 32
_SHOWN_CHARS = 80


def function_of(tool: "Callable[..., Any]", name: "str" = "") -> "Dict[str, Any]":
    """Give ``{name, description, parameters}``, the description from the docstring's first
    paragraph. Raises TypeError for a signature that JSON cannot say."""
    inner = _inner(tool)
    name = name or getattr(inner, "__name__", type(inner).__name__)
    if not _NAME.fullmatch(name):
        raise TypeError("%r is no name that a model can call; give functions=" % name)
    function: "Dict[str, Any]" = {"name": name}
    described = inspect.cleandoc(getattr(inner, "__doc__", None) or "").split("\n\n")[0]
    if described:
        function["description"] = " ".join(described.split())
    function["parameters"] = parameters_of(tool, name)
    return function


def parameters_of(tool: "Callable[..., Any]", name: str) -> "Dict[str, Any]":
    """Give the schema of an object that holds the arguments; those with defaults may be left
    out, others may not be added unless the function takes ``**others``."""
    names = _names(tool)
    properties: "Dict[str, Any]" = {}
    required: "List[str]" = []
    open_ended = False
    for parameter in _signature(tool, name).parameters.values():
        where = "%s(%s)" % (name, parameter.name)
        if parameter.kind is parameter.VAR_KEYWORD:
            open_ended = True
            continue
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.VAR_POSITIONAL):
            raise TypeError("%s: a model gives arguments by name; give functions=" % where)
        if parameter.annotation is parameter.empty:
            properties[parameter.name] = {}
        else:
            hint = _read(parameter.annotation, names, where)
            properties[parameter.name] = _schema(hint, where)
        if parameter.default is parameter.empty:
            required.append(parameter.name)
    schema: "Dict[str, Any]" = {"type": "object", "properties": properties}
    if required:
        schema["required"] = required
    if not open_ended:
        schema["additionalProperties"] = False
    return schema


def _inner(tool: "Any") -> "Any":
    """Give what has the name and the docstring."""
    while hasattr(tool, "func") and hasattr(tool, "keywords"):  # functools.partial
        tool = tool.func
    return tool


def _signature(tool: "Any", name: str) -> "inspect.Signature":
    try:
        return inspect.signature(tool)
    except ValueError:
        raise TypeError("%s: does not tell its parameters; give functions=" % name) from None
    except NameError as error:  # annotations that are read late
        raise TypeError("%s: %s; give functions=" % (name, error)) from None


def _names(tool: "Any") -> "Dict[str, Any]":
    """Give the names that its annotations may use."""
    tool = _inner(tool)
    if inspect.isclass(tool):
        tool = tool.__init__
    elif not inspect.isroutine(tool):
        tool = type(tool).__call__
    return getattr(inspect.unwrap(tool), "__globals__", {})


def _read(annotation: "Any", names: "Dict[str, Any]", where: str) -> "Any":
    """Give the type that an annotation names; other parameters' and the result's do not matter."""

    def holder() -> None:
        pass

    holder.__annotations__ = {"it": annotation}
    extras: "Any" = {"include_extras": True} if hasattr(typing, "Annotated") else {}
    try:
        return typing.get_type_hints(holder, names, **extras)["it"]
    except Exception as error:  # noqa: BLE001  an annotation may be any expression
        said = (where, annotation, error)
        raise TypeError("%s: %r cannot be read: %s; give functions=" % said) from None


def _schema(hint: "Any", where: str, depth: int = 0) -> "Dict[str, Any]":
    if hint is typing.Any:
        return {}
    if depth > _MAX_DEPTH:
        raise TypeError("%s: has no end; give functions=" % where[:_SHOWN_CHARS])
    depth += 1
    if isinstance(hint, (list, dict, set)):
        raise TypeError("%s: %r is no type; give functions=" % (where, hint))
    if hint in _PLAIN:
        return dict(_PLAIN[hint])
    if hasattr(hint, "__metadata__"):  # Annotated
        described = [text for text in hint.__metadata__ if isinstance(text, str)]
        schema = _schema(hint.__origin__, where, depth)
        return dict(schema, description=described[0]) if described else schema
    if hasattr(hint, "__supertype__"):  # NewType
        return _schema(hint.__supertype__, where, depth)
    if hasattr(hint, "__total__") and hasattr(hint, "__annotations__"):  # TypedDict
        return _typed_dict(hint, where, depth)
    return _generic(hint, where, depth)


def _generic(hint: "Any", where: str, depth: int) -> "Dict[str, Any]":
    from collections import abc

    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Union or type(hint).__name__ == "UnionType":
        return _union([_schema(each, where, depth) for each in inner])
    if origin is typing.Literal:
        if not all(each is None or type(each) in (str, bool, int, float) for each in inner):
            raise TypeError("%s: %r has no JSON Schema; give functions=" % (where, hint))
        return {"enum": list(inner)}
    if origin in (dict, abc.Mapping, abc.MutableMapping):
        if inner and inner[0] is not str:
            raise TypeError("%s: the names of an object are strings; give functions=" % where)
        if not inner:
            return {"type": "object"}
        return {"type": "object", "additionalProperties": _schema(inner[1], where, depth)}
    if origin is tuple and inner and inner[-1] is not ...:
        schemas = [_schema(each, where, depth) for each in inner]
        size = len(schemas)
        return {"type": "array", "prefixItems": schemas, "minItems": size, "maxItems": size}
    if _is_list(origin):
        if not inner:
            return {"type": "array"}
        return {"type": "array", "items": _schema(inner[0], where, depth)}
    raise TypeError("%s: %r has no JSON Schema%s; give functions=" % (where, hint, _instead(hint)))


def _instead(hint: "Any") -> str:
    if hasattr(hint, "__members__"):
        return " (use Literal for an Enum)"
    return " (use a TypedDict)" if hasattr(hint, "__dataclass_fields__") else ""


def _is_list(origin: "Any") -> bool:
    from collections import abc

    return origin in (list, tuple, abc.Sequence, abc.Iterable, abc.Collection, abc.MutableSequence)


def _union(schemas: "List[Dict[str, Any]]") -> "Dict[str, Any]":
    if all(set(schema) == {"type"} for schema in schemas):
        return {"type": [schema["type"] for schema in schemas]}
    return {"anyOf": schemas}


def _typed_dict(hint: "Any", where: str, depth: int) -> "Dict[str, Any]":
    try:
        hints = typing.get_type_hints(hint)
    except Exception as error:  # noqa: BLE001  an annotation may be any expression
        said = (where, hint, error)
        raise TypeError("%s: %r cannot be read: %s; give functions=" % said) from None
    named = {name: _schema(each, "%s.%s" % (where, name), depth) for name, each in hints.items()}
    # Python 3.8 knows only whether all or none are required.
    required = sorted(getattr(hint, "__required_keys__", hints if hint.__total__ else ()))
    schema: "Dict[str, Any]" = {"type": "object", "properties": named}
    if required:
        schema["required"] = required
    schema["additionalProperties"] = False
    return schema
