from __future__ import annotations

from typing import Any

import pytest

from sutlerd.pipeline.pattern_size import MAX_SIZE, pattern_size
from sutlerd.pipeline.schema_shape import MAX_DEPTH, MAX_ENUM_VALUES, MAX_SCHEMAS, schema_problems

TREE = {
    "type": "object",
    "properties": {"kids": {"type": "array", "items": {"$ref": "#"}}},
    "additionalProperties": False,
}


def nested(depth: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(depth):
        schema = {"type": "array", "items": schema}
    return schema


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"type": ["string", "null"]},
        TREE,
        {"$ref": "#/$defs/a~1b", "$defs": {"a/b": {"$anchor": "x"}}},
        {"$ref": "#x", "$defs": {"a": {"$anchor": "x"}}},
        {"$schema": "http://json-schema.org/draft-07/schema#", "items": [{}, True]},
        {"properties": {"$ref": {"type": "string"}, "enum": {}, "pattern": True}},
        {"const": {"$ref": "http://elsewhere.example"}, "default": {"type": "strin"}},
        {"x-of-ours": {"type": "strin"}},
        nested(MAX_DEPTH - 1),
    ],
)
def test_a_schema_that_is_right_has_no_problems(schema: dict[str, Any]) -> None:
    assert schema_problems(schema, "params.schema") == []


@pytest.mark.parametrize(
    ("schema", "problem"),
    [
        ({"type": "strin"}, "params.schema.type: must be one of array, boolean"),
        ({"properties": {"a": {"type": []}}}, "params.schema.properties.a.type: must be one of"),
        ({"properties": [1]}, "params.schema.properties: must be an object"),
        ({"properties": {"a": 5}}, "params.schema.properties.a: must be a schema"),
        ({"required": 5}, "params.schema.required: must be a list of names"),
        ({"required": ["a", "a"]}, "params.schema.required: names one twice"),
        ({"anyOf": []}, "params.schema.anyOf: must be a list of one or more schemas"),
        ({"anyOf": [{}, 3]}, "params.schema.anyOf[1]: must be a schema"),
        ({"enum": "a"}, "params.schema.enum: must be a list"),
        ({"minLength": -1}, "params.schema.minLength: must be a whole number from 0"),
        ({"minLength": True}, "params.schema.minLength: must be a whole number from 0"),
        ({"multipleOf": 0}, "params.schema.multipleOf: must be above 0"),
        ({"pattern": 1}, "params.schema.pattern: must be a string"),
        ({"items": {"$id": "x"}}, "params.schema.items.$id: only the outermost schema"),
        (
            {"$schema": "https://elsewhere.example"},
            "params.schema.$schema: the outermost schema may",
        ),
    ],
)
def test_a_schema_that_is_wrong_is_told_with_its_place(
    schema: dict[str, Any], problem: str
) -> None:
    told = schema_problems(schema, "params.schema")
    assert len(told) == 1
    assert told[0].startswith(problem)


@pytest.mark.fault("X14")
@pytest.mark.parametrize(
    ("schema", "problem"),
    [
        ({"$ref": "http://elsewhere.example/s.json"}, "nothing is fetched"),
        ({"$ref": "file:///etc/passwd"}, "nothing is fetched"),
        ({"items": {"$dynamicRef": "//elsewhere.example#x"}}, "nothing is fetched"),
        ({"$ref": "#/$defs/none"}, "nothing is fetched"),
        ({"$ref": "#"}, "refers to itself without end"),
        ({"anyOf": [{"$ref": "#/$defs/a"}], "$defs": {"a": {"not": {"$ref": "#"}}}}, "without end"),
        ({"enum": list(range(MAX_ENUM_VALUES + 1))}, f"more than {MAX_ENUM_VALUES} values"),
        ({"enum": ["x" * 9] * 100_000}, "is longer than"),
        ({"properties": {f"p{n}": {} for n in range(MAX_SCHEMAS)}}, "schemas in it"),
        (nested(MAX_DEPTH), "is nested deeper than"),
        ({"pattern": "a" * 1001}, "at most 1000 characters"),
        ({"pattern": "((a{1000}){1000}){1000}"}, "multiply to more"),
        ({"patternProperties": {"(a{999}){999}": {}}}, "multiply to more"),
        ({"patternProperties": {f"{n}": {} for n in range(201)}}, "more than 200 patterns"),
        ({"patternProperties": {"^a": {}}, "unevaluatedProperties": False}, "not taken together"),
    ],
)
def test_a_hostile_schema_is_refused_and_nothing_is_fetched(
    schema: dict[str, Any], problem: str
) -> None:
    told = schema_problems(schema, "params.schema")
    assert len(told) == 1, told
    assert problem in told[0]


@pytest.mark.parametrize(
    ("pattern", "size"),
    [
        ("", 0),
        ("abc", 3),
        ("a{3}", 3),
        ("a{2,5}b", 6),
        ("(ab){10}", 20),
        ("((a{10}){10}){10}", 1000),
        ("[a-z0-9{5}]{3}", 3),
        ("[]a]{4}", 4),
        (r"\({3}", 3),
        ("a{,4}", 4),
        ("x{}y", 4),
        ("(?:ab){2})", 9),
    ],
)
def test_the_size_of_a_pattern_multiplies_its_repeats(pattern: str, size: int) -> None:
    assert pattern_size(pattern) == size


def test_an_everyday_pattern_is_far_from_the_limit() -> None:
    mail = r"^[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9.-]{1,255}\.[A-Za-z]{2,10}$"
    assert pattern_size(mail) < MAX_SIZE / 10
