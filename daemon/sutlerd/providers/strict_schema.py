"""Which JSON Schemas the strict mode of OpenAI takes. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_NOT_STRICT = frozenset(
    {
        "allOf",
        "oneOf",
        "not",
        "if",
        "then",
        "else",
        "dependentRequired",
        "dependentSchemas",
        "patternProperties",
        "unevaluatedProperties",
        "propertyNames",
        "minProperties",
        "maxProperties",
        "prefixItems",
        "contains",
        "uniqueItems",
    }
)
#: Keywords whose value maps names to schemas, and those whose value is a schema or a list.
_NAMED_SCHEMAS = ("properties", "$defs", "definitions")
_SCHEMAS = ("items", "anyOf")


def fits_strict(schema: Mapping[str, Any]) -> bool:
    """Say whether a schema may be sent with ``strict``: its root an object, every object
    closed, every property required, no keyword outside of the subset. One that does not fit is
    sent unstrict, and the answer is checked here all the same."""
    return schema.get("type") == "object" and _fits(schema)


def _fits(schema: Any) -> bool:
    if isinstance(schema, list):
        return all(_fits(item) for item in schema)
    if not isinstance(schema, dict):
        return True
    if schema.keys() & _NOT_STRICT:
        return False
    properties = schema.get("properties")
    if properties is not None or schema.get("type") == "object":
        names = set(properties) if isinstance(properties, dict) else set()
        if schema.get("additionalProperties") is not False:
            return False
        if set(schema.get("required", ())) != names:
            return False
    nested = [schema[key] for key in _SCHEMAS if key in schema]
    for key in _NAMED_SCHEMAS:
        if isinstance(schema.get(key), dict):
            nested += schema[key].values()
    return all(_fits(item) for item in nested)
