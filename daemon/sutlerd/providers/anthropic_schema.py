"""JSON Schemas in the subset that Anthropic enforces. Pure.

Objects are closed, ``oneOf`` becomes ``anyOf``, and keywords outside of the subset move into
the description, where the model may heed them; the answer is checked against the whole schema
elsewhere. A schema whose meaning would change (recursion, open maps) does not fit.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

_FORMATS = frozenset(
    {
        "date-time",
        "time",
        "date",
        "duration",
        "email",
        "hostname",
        "uri",
        "ipv4",
        "ipv6",
        "uuid",
    }
)
_TYPES = frozenset({"object", "array", "string", "integer", "number", "boolean", "null"})
_DEFINITIONS = ("#/$defs/", "#/definitions/")
#: Notes for tools and people, of no meaning to a model.
_LEFT_OUT = frozenset({"$schema", "$id", "$comment", "$anchor", "deprecated", "readOnly"})


class DoesNotFit(ValueError):
    """The schema cannot be said in the subset; the text says why."""


def fit_schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Give the schema in the subset. Raises ``DoesNotFit``."""
    rest = dict(schema)
    definitions = {**_mapping(rest.pop("definitions", {})), **_mapping(rest.pop("$defs", {}))}
    fitted = {name: _fit(definition) for name, definition in definitions.items()}
    _refuse_recursion(fitted)
    root = _fit(rest)
    _refuse_unknown_references(root, fitted)
    return {**root, "$defs": fitted} if fitted else root


def _fit(schema: Any) -> dict[str, Any]:
    if not isinstance(schema, dict) or not schema:
        raise DoesNotFit("a part of it allows anything")
    rest = {name: value for name, value in schema.items() if name not in _LEFT_OUT}
    reference = rest.pop("$ref", None)
    if reference is not None:
        return {"$ref": _reference(reference)}
    fitted: dict[str, Any] = {}
    kind = rest.pop("type", None)
    if _take_literals(rest, fitted):
        return _described(fitted, rest)
    if isinstance(kind, list):
        # One branch for each, with what is said of it.
        return {"anyOf": [_fit({**rest, "type": one}) for one in kind]}
    if _take_branches(rest, fitted):
        if "properties" in rest:
            raise DoesNotFit("a part of it has both properties and branches")
        return _described(fitted, rest)
    if kind not in _TYPES:
        raise DoesNotFit("a part of it has no type")
    fitted["type"] = kind
    _take_type(kind, rest, fitted)
    return _described(fitted, rest)


def _take_literals(rest: dict[str, Any], fitted: dict[str, Any]) -> bool:
    values = rest.get("enum")
    if isinstance(values, list) and values and all(map(_is_primitive, values)):
        fitted["enum"] = rest.pop("enum")
    if "const" in rest and _is_primitive(rest["const"]):
        fitted["const"] = rest.pop("const")
    return bool(fitted)


def _take_branches(rest: dict[str, Any], fitted: dict[str, Any]) -> bool:
    for name, spelt in (("anyOf", "anyOf"), ("oneOf", "anyOf"), ("allOf", "allOf")):
        branches = rest.get(name)
        if isinstance(branches, list) and branches:
            if name == "allOf" and len(branches) > 1:
                # Each would be closed to what the others ask for.
                raise DoesNotFit("a part of it is put together with allOf")
            fitted[spelt] = [_fit(branch) for branch in rest.pop(name)]
            return True
    return False


def _take_type(kind: Any, rest: dict[str, Any], fitted: dict[str, Any]) -> None:
    """Move what the subset has for a type; what is left in ``rest`` goes into words."""
    if kind == "object":
        properties = _mapping(rest.pop("properties", {}))
        others = rest.pop("additionalProperties", None)
        if isinstance(others, dict) or (not properties and others is not False):
            raise DoesNotFit("a part of it is an object with names of any kind")
        fitted["properties"] = {name: _fit(value) for name, value in properties.items()}
        fitted["additionalProperties"] = False
        if "required" in rest:
            fitted["required"] = rest.pop("required")
    elif kind == "array":
        if "items" in rest:
            fitted["items"] = _fit(rest.pop("items"))
        if rest.get("minItems") in (0, 1):
            fitted["minItems"] = rest.pop("minItems")
    elif kind == "string" and rest.get("format") in _FORMATS:
        fitted["format"] = rest.pop("format")


def _described(fitted: dict[str, Any], rest: dict[str, Any]) -> dict[str, Any]:
    """Add title and description, and to that all that is left, in an order of its own."""
    for name in ("title", "description"):
        if name in rest:
            fitted[name] = rest.pop(name)
    if rest:
        words = orjson.dumps(rest, option=orjson.OPT_SORT_KEYS).decode()
        said = fitted.get("description")
        fitted["description"] = f"{said}\n\n{words}" if said else words
    return fitted


def _reference(reference: Any) -> str:
    for start in _DEFINITIONS:
        if isinstance(reference, str) and reference.startswith(start):
            name = reference.removeprefix(start)
            if name and "/" not in name:
                return f"#/$defs/{name}"
    raise DoesNotFit("a reference of it does not point to a definition")


def _refuse_recursion(definitions: Mapping[str, Any]) -> None:
    leads_to = {name: _referred(value) for name, value in definitions.items()}
    done: set[str] = set()
    while len(done) < len(leads_to):
        # Those all of whose references are known to end.
        ending = {n for n, to in leads_to.items() if n not in done and to <= done}
        if not ending:
            left = ", ".join(sorted(leads_to.keys() - done))
            raise DoesNotFit(f"it is recursive, or refers to nothing: {left}")
        done |= ending


def _refuse_unknown_references(root: Any, definitions: Mapping[str, Any]) -> None:
    unknown = _referred(root) - definitions.keys()
    if unknown:
        raise DoesNotFit(f"it refers to nothing: {', '.join(sorted(unknown))}")


def _referred(schema: Any) -> set[str]:
    """Give the names of all definitions that a fitted schema refers to."""
    if isinstance(schema, list):
        return set().union(*map(_referred, schema))
    if not isinstance(schema, dict):
        return set()
    reference = schema.get("$ref")
    if isinstance(reference, str):
        return {reference.removeprefix("#/$defs/")}
    return set().union(*map(_referred, schema.values()))


def _mapping(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise DoesNotFit("a part of it is no mapping of names")
    return value


def _is_primitive(value: Any) -> bool:
    return value is None or isinstance(value, str | int | float | bool)
