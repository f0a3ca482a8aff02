"""Arguments held against what the model was told of them, before a function is called."""

import json
import random
import typing
import unittest
from typing import Dict, List, Optional, Tuple, Union

from sutler.fits import MAX_TOLD, misfits
from sutler.signatures import parameters_of
from sutler.testing import reply
from tests.unit.client.support import Case


class Place(typing.TypedDict):
    lat: float
    name: str


def tool(
    city: str,
    days: int = 3,
    units: typing.Literal["C", "F"] = "C",
    places: Optional[List[Place]] = None,
    corner: Tuple[int, float] = (0, 0.0),
    notes: Union[str, Dict[str, int]] = "",
    sure: bool = False,
) -> None:
    pass


SCHEMA = parameters_of(tool, "tool")


class Fits(unittest.TestCase):
    def test_what_a_signature_takes_fits(self):
        for arguments in (
            {"city": "Bern"},
            {"city": "", "days": 4.0, "units": "F", "places": None, "sure": True},
            {
                "city": "x",
                "places": [{"lat": 1, "name": "n"}],
                "corner": [1, 2.5],
                "notes": {"a": 1},
            },
        ):
            self.assertEqual(misfits(SCHEMA, arguments), [])

    def test_what_does_not_fit_is_told_with_its_path(self):
        for arguments, said in (
            ({}, "$: city is missing"),
            ({"city": 5}, "$.city: 5 is not string"),
            ({"city": "x", "town": 1}, "$: there is no town"),
            ({"city": "x", "days": "two"}, '$.days: "two" is not integer'),
            ({"city": "x", "days": 2.5}, "$.days: 2.5 is not integer"),
            ({"city": "x", "days": True}, "$.days: true is not integer"),
            ({"city": "x", "sure": 1}, "$.sure: 1 is not boolean"),
            ({"city": "x", "units": "K"}, '$.units: "K" is none of "C", "F"'),
            (
                {"city": "x", "places": [{"lat": "1", "name": "n"}]},
                '$.places[0].lat: "1" is not number (none of 2 alternatives fits)',
            ),
            ({"city": "x", "corner": [1]}, "$.corner: has 1 items, not 2 to 2"),
            ({"city": "x", "corner": [1.5, 0]}, "$.corner[0]: 1.5 is not integer"),
            (
                {"city": "x", "notes": {"a": "b"}},
                '$.notes: {"a": "b"} is not string (none of 2 alternatives fits)',
            ),
        ):
            self.assertEqual(misfits(SCHEMA, arguments), [said])

    def test_other_keywords_are_understood_or_ask_for_nothing(self):
        self.assertEqual(misfits({"minimum": 1, "maximum": 3}, 2), [])
        self.assertEqual(misfits({"minimum": 1}, 0), ["$: 0 is less than 1"])
        self.assertEqual(misfits({"allOf": [{"const": 1}]}, 2), ["$: 2 is none of 1"])
        self.assertEqual(misfits({"enum": [1]}, True), ["$: true is none of 1"])
        self.assertEqual(
            misfits({"properties": {"a": False}}, {"a": 1}), ["$.a: must not be there"]
        )
        patterned = {"patternProperties": {"^x": {}}, "additionalProperties": False}
        for schema in (
            {"format": "date"},
            {"type": "point"},
            {"$ref": "#/x"},
            True,
            None,
            patterned,
        ):
            self.assertEqual(misfits(schema, {"x": 1}), [])

    def test_a_bounded_number_of_faults_is_told_of_anything(self):
        self.assertEqual(len(misfits({"items": {"type": "null"}}, list(range(1000)))), MAX_TOLD)
        deep = {}
        for _ in range(500):
            deep = {"items": deep, "type": "array"}
        value = []
        for _ in range(500):
            value = [value]
        misfits(deep, value)
        seed = random.randrange(10**6)
        chance = random.Random(seed)
        for _ in range(300):
            made = _anything(chance, 4)
            try:
                misfits(SCHEMA, made)
            except (TypeError, ValueError, KeyError) as error:
                self.fail("seed %d: %r for %r" % (seed, error, made))


def _anything(chance, depth):
    kind = chance.randrange(7 if depth else 5)
    if kind < 5:
        return chance.choice([None, True, 0, 1.5, "string", "type", -1])
    if kind == 5:
        return [_anything(chance, depth - 1) for _ in range(chance.randrange(3))]
    words = ("type", "enum", "items", "required", "city", "anyOf", "properties", "minItems")
    return {chance.choice(words): _anything(chance, depth - 1) for _ in range(3)}


class Told(Case):
    def test_a_function_is_not_called_with_what_does_not_fit_and_the_model_is_told(self):
        called = []

        def look(at: int) -> str:
            called.append(at)
            return "seen"

        def wants(arguments):
            function = {"name": "look", "arguments": json.dumps(arguments)}
            calls = [{"id": "c", "type": "function", "function": function}]
            return reply("", finish_reason="tool_calls", tool_calls=calls)

        daemon = self.daemon(complete=[wants({"at": "two"}), wants({"at": 2}), "done"])
        self.assertEqual(self.client().run_tools("x", {"look": look}).content, "done")
        self.assertEqual(called, [2])
        told = json.loads(daemon.asked[1].params["messages"][-1]["content"])
        self.assertEqual(told, {"error": 'the arguments do not fit: $.at: "two" is not integer'})
