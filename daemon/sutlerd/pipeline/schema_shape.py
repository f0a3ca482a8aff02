"""Is a JSON Schema well formed, small enough, and complete in itself? Pure, and quick enough to
be asked while a request is resolved.

What passes here is safe to spell for any provider and to judge by. Nothing is ever fetched: a
reference leads to a place within the schema itself. What the keywords say beyond their shape
is checked against the draft's own schema before the first attempt.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final
from urllib.parse import unquote

import orjson

from sutlerd.pipeline.pattern_size import MAX_SIZE, pattern_size

MAX_BYTES = 256 * 1024
MAX_DEPTH = 48
MAX_SCHEMAS = 2_000
MAX_ENUM_VALUES = 10_000
MAX_PATTERNS = 200
MAX_PATTERN_CHARS = 1_000
_MAX_PROBLEMS = 20
_SHOWN_CHARS = 100

DRAFTS: Final = {
    "http://json-schema.org/draft-04/schema": "Draft4Validator",
    "http://json-schema.org/draft-06/schema": "Draft6Validator",
    "http://json-schema.org/draft-07/schema": "Draft7Validator",
    "https://json-schema.org/draft/2019-09/schema": "Draft201909Validator",
    "https://json-schema.org/draft/2020-12/schema": "Draft202012Validator",
}
_TYPES = ("array", "boolean", "integer", "null", "number", "object", "string")

#: Keywords whose value is a schema; those that judge the same value as their own schema does
#: are in ``_IN_PLACE``.
_ONE = frozenset(
    {
        *("additionalProperties", "additionalItems", "items", "contains", "contentSchema"),
        *("propertyNames", "unevaluatedItems", "unevaluatedProperties"),
        *("not", "if", "then", "else"),
    }
)
_LISTED = frozenset({"allOf", "anyOf", "oneOf", "prefixItems"})
_NAMED = frozenset(
    {"properties", "patternProperties", "$defs", "definitions", "dependentSchemas", "dependencies"}
)
_IN_PLACE = frozenset(
    {"allOf", "anyOf", "oneOf", "not", "if", "then", "else", "dependentSchemas", "dependencies"}
)
_REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")
_STRINGS = frozenset(
    {
        *("pattern", "title", "description", "format", "$comment", "$anchor", "$dynamicAnchor"),
        *("contentEncoding", "contentMediaType", "$id", "id", "$schema", *_REFERENCES),
    }
)
_COUNTS = frozenset(
    {
        *("minLength", "maxLength", "minItems", "maxItems", "minContains", "maxContains"),
        *("minProperties", "maxProperties"),
    }
)


def schema_problems(schema: Mapping[str, Any], path: str) -> list[str]:
    """Give each problem as ``path.to.keyword: what is wrong``; empty if there is none."""
    if len(orjson.dumps(schema)) > MAX_BYTES:
        return [f"{path}: is longer than {MAX_BYTES} bytes"]
    walk = _Walk(path)
    walk.visit(schema, "", path, 1)
    if not walk.problems:
        walk.check_references()
    return walk.problems[:_MAX_PROBLEMS]


class _Walk:
    """One walk over a schema. Places are JSON pointers, in the spelling of references."""

    def __init__(self, path: str) -> None:
        self.problems: list[str] = []
        self._path = path
        self._paths: dict[str, str] = {}
        self._anchors: dict[str, str] = {}
        self._references: list[tuple[str, str, str]] = []
        self._in_place: dict[str, list[str]] = {}
        self._enum_values = 0
        self._patterns = 0
        self._has_pattern_properties = False
        self._has_unevaluated = False

    def visit(self, schema: Any, place: str, path: str, depth: int) -> None:
        if len(self.problems) >= _MAX_PROBLEMS or isinstance(schema, bool):
            self._paths[place] = path
            return
        if not isinstance(schema, dict):
            self._wrong(path, "must be a schema: an object, true or false")
            return
        self._paths[place] = path
        if len(self._paths) > MAX_SCHEMAS:
            self._wrong(self._path, f"has more than {MAX_SCHEMAS} schemas in it", only=True)
            return
        if depth > MAX_DEPTH:
            self._wrong(path, f"is nested deeper than {MAX_DEPTH}")
            return
        for keyword, value in schema.items():
            here = f"{path}.{keyword[:_SHOWN_CHARS]}"
            check = _CHECKS.get(keyword)
            wrong = check(value) if check is not None else None
            if wrong is not None:
                self._wrong(here, wrong)
                continue
            self._note(keyword, value, place, here)
            for step, name, inner in _inner(keyword, value):
                below = f"{place}/{_escaped(keyword)}{step}"
                if keyword in _IN_PLACE:
                    self._in_place.setdefault(place, []).append(below)
                self.visit(inner, below, here + name, depth + 1)

    def _note(self, keyword: str, value: Any, place: str, here: str) -> None:
        if keyword in _REFERENCES:
            self._references.append((place, value, here))
        elif keyword in ("$anchor", "$dynamicAnchor"):
            self._anchors[value] = place
        elif keyword in ("$id", "id") and place:
            self._wrong(here, "only the outermost schema may have one")
        elif keyword == "$schema" and (place or value.removesuffix("#") not in DRAFTS):
            known = "; known are " + ", ".join(DRAFTS) if not place else ""
            self._wrong(here, f"the outermost schema may name a draft{known}")
        elif keyword == "enum":
            self._enum_values += len(value)
            if self._enum_values > MAX_ENUM_VALUES:
                self._wrong(here, f"more than {MAX_ENUM_VALUES} values in all")
        elif keyword == "pattern":
            self._count_pattern(value, here)
        elif keyword == "patternProperties":
            self._has_pattern_properties = True
            for pattern in value:
                self._count_pattern(pattern, here)
        elif keyword == "unevaluatedProperties":
            self._has_unevaluated = True

    def _count_pattern(self, pattern: str, here: str) -> None:
        self._patterns += 1
        if len(pattern) > MAX_PATTERN_CHARS:
            self._wrong(here, f"a pattern has at most {MAX_PATTERN_CHARS} characters")
        elif pattern_size(pattern) > MAX_SIZE:
            self._wrong(here, "a pattern whose repeats multiply to more than can be matched")
        elif self._patterns == MAX_PATTERNS + 1:
            self._wrong(here, f"more than {MAX_PATTERNS} patterns in all")

    def check_references(self) -> None:
        if self._has_pattern_properties and self._has_unevaluated:
            both = "patternProperties and unevaluatedProperties"
            self._wrong(self._path, f"{both} are not taken together")
        for place, reference, here in self._references:
            target = self._target(reference)
            if target is None:
                shown = repr(reference[:_SHOWN_CHARS])
                self._wrong(here, f"{shown} is no place in this schema; nothing is fetched")
            else:
                self._in_place.setdefault(place, []).append(target)
        circle = _circle(self._in_place)
        if circle is not None:
            self._wrong(self._paths[circle], "refers to itself without end")

    def _target(self, reference: str) -> str | None:
        if not reference.startswith("#"):
            return None
        pointer = unquote(reference[1:])
        if pointer and not pointer.startswith("/"):
            return self._anchors.get(pointer)
        return pointer if pointer in self._paths else None

    def _wrong(self, path: str, what: str, *, only: bool = False) -> None:
        problem = f"{path}: {what}"
        if not (only and problem in self.problems):
            self.problems.append(problem)


def _inner(keyword: str, value: Any) -> Iterator[tuple[str, str, Any]]:
    """Give the schemas in a keyword's value: pointer step, path step, schema."""
    if keyword in _LISTED or (keyword == "items" and isinstance(value, list)):
        for number, inner in enumerate(value):
            yield f"/{number}", f"[{number}]", inner
    elif keyword in _ONE:
        yield "", "", value
    elif keyword in _NAMED:
        for name, inner in value.items():
            if not (keyword == "dependencies" and isinstance(inner, list)):
                yield f"/{_escaped(name)}", f".{name[:_SHOWN_CHARS]}", inner


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")


def _circle(edges: Mapping[str, list[str]]) -> str | None:
    """Find a place that leads back to itself while the judged value stays the same."""
    done: set[str] = set()
    for start in edges:
        under_way: dict[str, Iterator[str]] = {} if start in done else {start: iter(edges[start])}
        while under_way:
            place = next(reversed(under_way))
            ahead = next(under_way[place], None)
            if ahead is None:
                del under_way[place]
                done.add(place)
            elif ahead in under_way:
                return ahead
            elif ahead not in done:
                under_way[ahead] = iter(edges.get(ahead, ()))
    return None


def _a_type(value: Any) -> str | None:
    names = value if isinstance(value, list) else [value]
    if names and all(isinstance(name, str) and name in _TYPES for name in names):
        return None
    return "must be one of " + ", ".join(_TYPES) + ", or a list of these"


def _names(value: Any) -> str | None:
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        return "must be a list of names"
    return None if len(set(value)) == len(value) else "names one twice"


def _number(value: Any) -> str | None:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return None if is_number else "must be a number"


def _number_or_switch(value: Any) -> str | None:
    return None if isinstance(value, bool) else _number(value)


def _step(value: Any) -> str | None:
    return _number(value) or (None if value > 0 else "must be above 0")


def _count(value: Any) -> str | None:
    good = _number(value) is None and value >= 0 and value == int(value)
    return None if good else "must be a whole number from 0"


def _of(kind: type, what: str) -> Callable[[Any], str | None]:
    return lambda value: None if isinstance(value, kind) else f"must be {what}"


def _some(value: Any) -> str | None:
    return None if isinstance(value, list) and value else "must be a list of one or more schemas"


_CHECKS: Final[Mapping[str, Callable[[Any], str | None]]] = {
    **dict.fromkeys(_STRINGS, _of(str, "a string")),
    **dict.fromkeys(_NAMED, _of(dict, "an object")),
    **dict.fromkeys(_COUNTS, _count),
    **dict.fromkeys(_LISTED, _some),
    **dict.fromkeys(("minimum", "maximum"), _number),
    **dict.fromkeys(("exclusiveMinimum", "exclusiveMaximum"), _number_or_switch),
    "multipleOf": _step,
    "type": _a_type,
    "required": _names,
    "enum": _of(list, "a list"),
    "uniqueItems": _of(bool, "true or false"),
}
