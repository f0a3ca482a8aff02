"""What a function's signature says to a model."""

import dataclasses
import enum
import functools
import sys
import typing
import unittest
from typing import Any, Dict, List, Optional, Sequence, Tuple, Union

from sutler.signatures import function_of, parameters_of


class Place(typing.TypedDict):
    lat: float
    name: str


class Some(typing.TypedDict, total=False):
    name: str


class Tree(typing.TypedDict):
    children: List["Tree"]


class Colour(enum.Enum):
    RED = "red"


@dataclasses.dataclass
class Point:
    x: int


UserId = typing.NewType("UserId", int)


class Signatures(unittest.TestCase):
    def schema_of(self, hint):
        def tool(value):
            return value

        tool.__annotations__ = {"value": hint}
        return parameters_of(tool, "tool")["properties"]["value"]

    def test_a_function_is_told_by_its_name_docstring_and_parameters(self):
        def look(city: str, days: int = 3, *, units: typing.Literal["C", "F"] = "C") -> str:
            """Look up
            the weather.

            Not told to the model.
            """
            return city * days + units

        self.assertEqual(
            function_of(look),
            {
                "name": "look",
                "description": "Look up the weather.",
                "parameters": {
                    "type": "object",
                    "properties": {
                        "city": {"type": "string"},
                        "days": {"type": "integer"},
                        "units": {"enum": ["C", "F"]},
                    },
                    "required": ["city"],
                    "additionalProperties": False,
                },
            },
        )
        self.assertEqual(function_of(look, "weather")["name"], "weather")

    def test_types_of_json_are_told(self):
        told = [
            (Any, {}),
            (str, {"type": "string"}),
            (bool, {"type": "boolean"}),
            (float, {"type": "number"}),
            (list, {"type": "array"}),
            (dict, {"type": "object"}),
            (None, {"type": "null"}),
            (List[int], {"type": "array", "items": {"type": "integer"}}),
            (Sequence[str], {"type": "array", "items": {"type": "string"}}),
            (Tuple[int, ...], {"type": "array", "items": {"type": "integer"}}),
            (Dict[str, int], {"type": "object", "additionalProperties": {"type": "integer"}}),
            (Optional[int], {"type": ["integer", "null"]}),
            (
                Union[str, List[str]],
                {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]},
            ),
            (
                Tuple[int, str],
                {
                    "type": "array",
                    "prefixItems": [{"type": "integer"}, {"type": "string"}],
                    "minItems": 2,
                    "maxItems": 2,
                },
            ),
            (
                Place,
                {
                    "type": "object",
                    "properties": {"lat": {"type": "number"}, "name": {"type": "string"}},
                    "required": ["lat", "name"],
                    "additionalProperties": False,
                },
            ),
            (
                Some,
                {
                    "type": "object",
                    "properties": {"name": {"type": "string"}},
                    "additionalProperties": False,
                },
            ),
        ]
        for hint, schema in told:
            with self.subTest(hint=hint):
                self.assertEqual(self.schema_of(hint), schema)

    def test_rarer_spellings_are_told(self):
        told = [
            (
                typing.Mapping[str, int],
                {"type": "object", "additionalProperties": {"type": "integer"}},
            ),
            (Dict, {"type": "object"}),
            (List, {"type": "array"}),
            (List[dict], {"type": "array", "items": {"type": "object"}}),
            (UserId, {"type": "integer"}),
            ("Optional[int]", {"type": ["integer", "null"]}),
            (
                "Some",
                {
                    "type": "object",
                    "properties": {"name": {"type": "string"}},
                    "additionalProperties": False,
                },
            ),
            (Optional[typing.Literal["a", 1]], {"anyOf": [{"enum": ["a", 1]}, {"type": "null"}]}),
        ]
        for hint, schema in told:
            with self.subTest(hint=hint):
                self.assertEqual(self.schema_of(hint), schema)

    @unittest.skipIf(sys.version_info < (3, 10), "newer spellings")
    def test_newer_spellings_are_told(self):
        self.assertEqual(self.schema_of("int | None"), {"type": ["integer", "null"]})
        self.assertEqual(
            self.schema_of("list[int]"), {"type": "array", "items": {"type": "integer"}}
        )
        self.assertEqual(
            self.schema_of(typing.Annotated[str, "the city's name"]),
            {"type": "string", "description": "the city's name"},
        )

    def test_what_json_cannot_say_is_told_with_the_parameter(self):
        told = [
            *((hint, "no JSON Schema") for hint in (bytes, set, object, complex)),
            (Dict[int, str], "names of an object are strings"),
            (Colour, "use Literal"),
            (Point, "use a TypedDict"),
            (List[Optional[Point]], "use a TypedDict"),
            (typing.Literal[b"a"], "no JSON Schema"),
            (typing.Literal[Colour.RED], "no JSON Schema"),
            (Tree, "has no end"),
            ("Nowhere", "'Nowhere' is not defined"),
            ("the name of a city", "cannot be read"),
            ([int], r"\[.*int.*\]"),
            ({}, "{}"),
        ]
        for hint, why in told:
            with self.subTest(hint=hint), self.assertRaisesRegex(
                TypeError, r"tool\(value\).*%s.*give functions=" % why
            ):
                self.schema_of(hint)

        def any_number(*values: int) -> int:
            return len(values)

        with self.assertRaisesRegex(TypeError, r"any_number\(values\): .* by name"):
            function_of(any_number)
        with self.assertRaisesRegex(TypeError, "does not tell its parameters"):
            function_of(type)
        with self.assertRaisesRegex(TypeError, "no name that a model can call"):
            function_of(lambda: 1)
        self.assertEqual(function_of(lambda: 1, "one")["name"], "one")
        with self.assertRaises(TypeError):
            function_of(5)

    def test_only_the_parameters_annotations_need_be_known(self):
        def tool(city, days: "int" = 1, **others: "int") -> "Nowhere":  # noqa: F821
            return city, days, others

        self.assertEqual(
            function_of(tool)["parameters"],
            {
                "type": "object",
                "properties": {"city": {}, "days": {"type": "integer"}},
                "required": ["city"],
            },
        )

    def test_methods_partials_and_objects_are_functions_too(self):
        class Adder:
            def add(self, a: int, b: int = 1) -> int:
                """Add."""
                return a + b

            def __call__(self, a: int, **others: int) -> int:
                return a

        expected = {"a": {"type": "integer"}, "b": {"type": "integer"}}
        self.assertEqual(function_of(Adder().add)["parameters"]["properties"], expected)
        partial = functools.partial(Adder().add, b=5)
        told = function_of(partial, "add5")["parameters"]
        self.assertEqual((told["properties"], told["required"]), (expected, ["a"]))
        self.assertEqual(function_of(partial)["name"], "add")
        self.assertEqual(function_of(partial)["description"], "Add.")

        @functools.wraps(Adder.add)
        def wrapped(*args, **named):
            return Adder.add(*args, **named)

        told = function_of(functools.partial(wrapped, Adder()), "add")["parameters"]
        self.assertEqual(told["properties"], expected)

        class Made:
            def __init__(self, a: int):
                self.a = a

        self.assertEqual(function_of(Made)["parameters"]["required"], ["a"])
        told = function_of(Adder(), "adder")["parameters"]
        self.assertEqual(
            told, {"type": "object", "properties": {"a": expected["a"]}, "required": ["a"]}
        )
