"""Which JSON Schemas the strict mode of OpenAI takes. Pure."""

from __future__ import annotations

from typing import Any

_NOT_STRICT:
        return False
    properties = schema.get("properties")
    if properties is not None or schema.get("type") == "object":
        names = properties.keys() if isinstance(properties, dict) else set()
        if schema.get("additionalProperties") is not False:
            return False
        if set(schema.get("required", ())) != set(names):
            return False
    nested = [
        value.values() if key in _NAMED_SCHEMAS and isinstance(value, dict) else (value,)
        for key, value in schema.items()
        if key in _SCHEMAS
    ]
    return all(fits_strict(item) for values in nested for item in values)


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
_NAMED_SCHEMAS = ("properties", "$defs", "definitions")
_SCHEMAS = (*_NAMED_SCHEMAS, "items", "anyOf")


def fits_strict(schema: Any) -> bool:
    """Say whether OpenAI's strict mode takes a schema: every object closed, every property
    required, no keyword outside of its subset. A schema that does not fit is sent unstrict."""
    if isinstance(schema, list):
        return all(fits_strict(item) for item in schema)
    if not isinstance(schema, dict):
        return True
    if schema.keys() &
