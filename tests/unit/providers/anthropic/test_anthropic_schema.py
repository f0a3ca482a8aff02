from __future__ import annotations

from typing import Any

import pytest

from sutlerd.providers.anthropic_schema import DoesNotFit, fit_schema


def an_object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


def closed(**properties: Any) -> dict[str, Any]:
    return {**an_object(**properties), "additionalProperties": False}


def test_objects_are_closed_all_the_way_down() -> None:
    inner = {**an_object(n={"type": "integer"}), "required": ["n"], "additionalProperties": True}
    assert fit_schema(an_object(a={"type": "array", "items": inner})) == closed(
        a={"type": "array", "items": {**closed(n={"type": "integer"}), "required": ["n"]}}
    )


def test_what_is_not_enforced_is_told_in_the_description_in_one_order() -> None:
    number = {"minimum": 1, "maximum": 9, "description": "a digit", "type": "integer"}
    assert fit_schema(an_object(n=number)) == closed(
        n={"type": "integer", "description": 'a digit\n\n{"maximum":9,"minimum":1}'}
    )
    text = {"type": "string", "format": "regex", "pattern": "^a", "title": "T"}
    assert fit_schema(an_object(s=text))["properties"]["s"] == {
        "type": "string",
        "title": "T",
        "description": '{"format":"regex","pattern":"^a"}',
    }


@pytest.mark.parametrize(
    "kept",
    [
        {"type": "string", "format": "date-time"},
        {"type": "array", "items": {"type": "null"}, "minItems": 1},
        {"enum": ["a", 1, None, True]},
        {"const": 4},
        {"anyOf": [{"type": "string"}, {"type": "null"}]},
        {"allOf": [{"type": "string"}], "description": "d"},
    ],
)
def test_what_is_enforced_stays_as_it_is(kept: dict[str, Any]) -> None:
    assert fit_schema(an_object(x=kept))["properties"]["x"] == kept


def test_spellings_that_mean_the_same_are_put_into_the_one_that_is_taken() -> None:
    fitted = fit_schema(
        {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            **an_object(
                a={"oneOf": [{"type": "string"}, {"type": "integer"}]},
                b={"type": ["string", "null"]},
                c={"type": "string", "enum": ["x", "y"]},
                d={"$ref": "#/definitions/p", "description": "lost"},
                e={"type": "array", "minItems": 3},
            ),
            "definitions": {"p": an_object(q={"$ref": "#/$defs/r"})},
            "$defs": {"r": {"type": "boolean"}},
        }
    )
    assert fitted == {
        **closed(
            a={"anyOf": [{"type": "string"}, {"type": "integer"}]},
            b={"anyOf": [{"type": "string"}, {"type": "null"}]},
            c={"enum": ["x", "y"]},
            d={"$ref": "#/$defs/p"},
            e={"type": "array", "description": '{"minItems":3}'},
        ),
        "$defs": {"p": closed(q={"$ref": "#/$defs/r"}), "r": {"type": "boolean"}},
    }


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"type": "object"},
        {"type": "object", "additionalProperties": {"type": "string"}},
        {**an_object(a={"type": "string"}), "additionalProperties": {"type": "string"}},
        an_object(a={}),
        an_object(a=True),
        an_object(a={"type": "nonsense"}),
        an_object(a={"description": "anything"}),
        an_object(a={"enum": [{"not": "primitive"}]}),
        {"type": "object", "properties": []},
        {**an_object(a={"type": "string"}), "anyOf": [{"required": ["a"]}]},
        {"allOf": [an_object(a={"type": "string"}), an_object(b={"type": "string"})]},
        {"$ref": "#/$defs/missing"},
        {"$ref": "https://example.com/schema"},
        {"$ref": "#/properties/a"},
        {"$ref": 7},
        {"$ref": "#/$defs/a", "$defs": {"a": {"anyOf": [{"$ref": "#/$defs/a"}]}}},
        {
            "$ref": "#/$defs/a",
            "$defs": {
                "a": an_object(b={"$ref": "#/$defs/b"}),
                "b": an_object(a={"$ref": "#/$defs/a"}),
            },
        },
        {"type": "object", "$defs": 7},
    ],
)
def test_a_schema_whose_meaning_would_change_does_not_fit(schema: dict[str, Any]) -> None:
    with pytest.raises(DoesNotFit):
        fit_schema(schema)


def test_the_schema_given_is_left_as_it_was() -> None:
    schema = an_object(a={"type": "string", "pattern": "x"})
    fit_schema(schema)
    assert schema == an_object(a={"type": "string", "pattern": "x"})
