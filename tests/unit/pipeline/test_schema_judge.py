from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from sutlerd.domain.errors import InvalidParams
from sutlerd.pipeline.schema_judge import SchemaJudge

POINT = {
    "type": "object",
    "properties": {"x": {"type": "integer"}, "tags": {"type": "array", "uniqueItems": True}},
    "required": ["x"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def judge() -> SchemaJudge:
    return SchemaJudge(limit_s=0.2)


@pytest.mark.parametrize(
    ("schema", "text", "value"),
    [
        (POINT, '{"x": 1}', {"x": 1}),
        (POINT, 'As [1] tells: {"x": 1}.', {"x": 1}),
        (POINT, '{"x": 1, "tags": [1, true, "1", [1]]}', {"x": 1, "tags": [1, True, "1", [1]]}),
        (None, '{"anything": [1]}', {"anything": [1]}),
        ({"type": "string"}, '"a"', "a"),
        ({"type": "null"}, "null", None),
    ],
)
async def test_an_answer_that_fits_is_given_as_a_value(
    judge: SchemaJudge, schema: Any, text: str, value: Any
) -> None:
    judged = await judge.judge(text, schema, uid=1)
    assert (judged.value, judged.errors) == (value, ())


@pytest.mark.parametrize(
    ("schema", "text", "errors"),
    [
        (POINT, "", ["$: there is no text in the answer"]),
        (POINT, "none", ["$: no JSON in the answer"]),
        (POINT, '{"x": 1', ["$: no JSON in the answer"]),
        (POINT, '{"x": "1"}', ["$.x: '1' is not of type 'integer'"]),
        (POINT, '{"x": 1, "tags": [1, 1.0]}', ["$.tags: has an item twice"]),
        (POINT, '{"x": 1, "y": 2}', ["$: no such properties are allowed: 'y'"]),
        (POINT, "{}", ["$: 'x' is a required property"]),
        ({"items": {"pattern": "^a"}}, '["b"]', ["$[0]: 'b' does not match '^a'"]),
        ({"patternProperties": {"^a": {"type": "null"}}}, '{"ab": 1, "b": 1}', ["$.ab: 1 is not"]),
        (
            {"additionalProperties": {"type": "null"}, "patternProperties": {"^a": {}}},
            '{"ab": 1, "b": 2}',
            ["$.b: 2 is not"],
        ),
        ({"anyOf": [{"type": "null"}, POINT]}, '{"x": "1"}', ["$.x: '1' is not of type 'integer'"]),
    ],
)
async def test_what_is_wrong_is_told_by_path(
    judge: SchemaJudge, schema: Any, text: str, errors: list[str]
) -> None:
    judged = await judge.judge(text, schema, uid=1)
    assert len(judged.errors) == len(errors)
    assert all(told.startswith(error) for told, error in zip(judged.errors, errors, strict=True))


@pytest.mark.fault("X14")
@pytest.mark.parametrize(
    ("schema", "text"),
    [
        ({"pattern": "^(.*)*$"}, '"' + "ab" * 100_000 + '\\n!"'),
        ({"patternProperties": {"^(.*)*$": {}}}, '{"' + "ab" * 100_000 + '\\n!": 1}'),
        ({"pattern": "a"}, '"' + "b" * 300_000 + '"'),
        (
            {
                "$ref": "#/$defs/d0",
                "$defs": {
                    **{f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(40)},
                    "d40": {"type": "string"},
                },
            },
            '"a"',
        ),
    ],
)
async def test_a_schema_that_takes_too_long_to_check_by_ends_within_its_limit(
    judge: SchemaJudge, schema: Any, text: str
) -> None:
    judged = await judge.judge(text, schema, uid=1)
    assert judged.errors == ("$: it takes too long to check by this schema",)
    assert judged.final


@pytest.mark.fault("X14")
@pytest.mark.parametrize("brace", ["{", "[", '{"a":', "[{}," * 3])
async def test_hostile_answers_are_judged_within_the_same_limit(
    judge: SchemaJudge, brace: str
) -> None:
    judged = await judge.judge(brace * 100_000, POINT, uid=1)
    assert judged.errors


async def test_an_answer_nested_deeper_than_the_wire_carries_is_refused(
    judge: SchemaJudge,
) -> None:
    judged = await judge.judge("[" * 100 + "]" * 100, None, uid=1)
    assert judged.errors == ("$: nested too deep",)


async def test_a_recursive_schema_judges_a_tree(judge: SchemaJudge) -> None:
    tree = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "properties": {"kids": {"type": "array", "items": {"$ref": "#"}}, "n": {"pattern": "^a"}},
    }
    leaf: dict[str, Any] = {"n": "b"}
    for _ in range(10):
        leaf = {"kids": [leaf]}
    judged = await judge.judge(json.dumps(leaf), tree, uid=1)
    assert judged.errors == ("$" + ".kids[0]" * 10 + ".n: 'b' does not match '^a'",)


@pytest.mark.parametrize(
    ("schema", "problem"),
    [
        ({"properties": {"a": {"pattern": "("}}}, "params.schema.properties.a.pattern: missing )"),
        ({"exclusiveMinimum": True}, "params.schema.exclusiveMinimum: True is not of type"),
        ({"items": [{}]}, "params.schema.items: "),
    ],
)
async def test_what_the_draft_does_not_allow_is_told_with_its_place(
    judge: SchemaJudge, schema: Any, problem: str
) -> None:
    with pytest.raises(InvalidParams) as refused:
        await judge.prepare(schema, uid=1)
    assert refused.value.message.startswith(problem)


@pytest.mark.fault("X14")
async def test_a_user_whose_schemas_are_slow_waits_for_himself_alone() -> None:
    judge = SchemaJudge(limit_s=0.5)
    slow = {"pattern": "^(.*)*$"}
    text = '"' + "ab" * 100_000 + '\\n!"'
    hostile = [asyncio.ensure_future(judge.judge(text, slow, uid=1)) for _ in range(8)]
    await asyncio.sleep(0)
    hostile[1].cancel()
    judged = await judge.judge('{"x": 1}', POINT, uid=2)
    assert judged.value == {"x": 1}
    assert not any(one.done() for one in hostile[2:])
    for one in hostile:
        one.cancel()
    await asyncio.gather(*hostile, return_exceptions=True)
    # The turn of what was cancelled goes on until its thread is free again.
    later = await judge.judge('{"x": 2}', POINT, uid=1)
    assert later.value == {"x": 2}
