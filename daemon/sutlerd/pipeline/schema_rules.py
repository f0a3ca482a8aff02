"""JSON Schemas made ready to be judged by: every keyword asks the time, and patterns are
matched by an engine that can be stopped. For the threads that judge.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import orjson

from sutlerd.domain.errors import InvalidParams
from sutlerd.pipeline.schema_shape import DRAFTS

MAX_MATCHED_CHARS = 256 * 1024
_MAX_KNOWN = 128
_MAX_NAMED = 10
_SAID_CHARS = 300
_SHOWN_CHARS = 200
_BY_DEFAULT = "https://json-schema.org/draft/2020-12/schema"


class TooSlow(Exception):
    """An answer could not be judged within the limit."""


class SchemaRules:
    """Remembers the schemas it was last asked about."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: OrderedDict[bytes, Any] = OrderedDict()
        self._under = threading.local()
        self._drafts: dict[str, Any] = {}

    def knows(self, key: bytes) -> bool:
        return key in self._known

    def begin(self, limit_s: float) -> None:
        """Let whatever this thread judges next end within a limit, else with ``TooSlow``."""
        self._under.until_s = time.monotonic() + limit_s

    def validator(self, key: bytes, schema: Mapping[str, Any]) -> Any:
        """Give what judges by a schema, whose spelling is ``key``. Raises ``InvalidParams``."""
        with self._lock:
            known = self._known.get(key)
            if known is not None:
                self._known.move_to_end(key)
                return known
        made = self._compiled(schema)
        with self._lock:
            self._known[key] = made
            if len(self._known) > _MAX_KNOWN:
                self._known.popitem(last=False)
        return made

    def _compiled(self, schema: Mapping[str, Any]) -> Any:
        from jsonschema.exceptions import SchemaError
        from referencing import Registry

        kind = self._draft(str(schema.get("$schema", _BY_DEFAULT)).removesuffix("#"))
        try:
            # Formats are not checked: patterns are compiled by our own engine, below.
            kind.check_schema(schema, format_checker=None)
        except SchemaError as error:
            path = "".join(step_of(step) for step in error.absolute_path)
            said = error.message[:_SAID_CHARS]
            raise InvalidParams(f"params.schema{path}: {said}") from None
        for pattern, path in _patterns(schema, "params.schema"):
            _compile(pattern, path)
        # Where it still named its draft, a reference to it would be judged by the plain validator.
        return kind(
            {key: value for key, value in schema.items() if key != "$schema"}, registry=Registry()
        )

    def _draft(self, name: str) -> Any:
        """Give a draft's validator with our clock, and our engine for patterns, in it."""
        import jsonschema
        from jsonschema.validators import extend

        known = self._drafts.get(name)
        if known is not None:
            return known
        base = getattr(jsonschema, DRAFTS[name])
        keywords = {
            **base.VALIDATORS,
            "pattern": self._pattern,
            "patternProperties": self._pattern_properties,
            "additionalProperties": self._additional_properties,
            "uniqueItems": _unique_items,
        }
        timed = {keyword: self._timed(check) for keyword, check in keywords.items()}
        made: Any = extend(base, validators=timed)  # type: ignore[no-untyped-call]
        self._drafts[name] = made
        # The draft's own schema is trusted: it is judged by the plain validator.
        made.check_schema = base.check_schema
        return made

    def _timed(self, check: Callable[..., Any]) -> Callable[..., Any]:
        def timed(validator: Any, value: Any, instance: Any, schema: Any) -> Any:
            self._time_left_s()
            return check(validator, value, instance, schema)

        return timed

    def _time_left_s(self) -> float:
        left_s: float = self._under.until_s - time.monotonic()
        if left_s <= 0:
            raise TooSlow
        return left_s

    def _matches(self, pattern: str, text: str) -> bool:
        if len(text) > MAX_MATCHED_CHARS:
            raise TooSlow
        found = _compile(pattern, "").search(text, timeout=self._time_left_s())
        return found is not None

    def _pattern(self, validator: Any, pattern: str, instance: Any, schema: Any) -> Iterator[Any]:
        from jsonschema import ValidationError

        if isinstance(instance, str) and not self._matches(pattern, instance):
            yield ValidationError(f"{_shown(instance)} does not match {pattern!r}")

    def _pattern_properties(
        self, validator: Any, patterns: Mapping[str, Any], instance: Any, schema: Any
    ) -> Iterator[Any]:
        if not isinstance(instance, dict):
            return
        for pattern, below in patterns.items():
            for name, value in instance.items():
                if self._matches(pattern, name):
                    yield from validator.descend(value, below, path=name, schema_path=pattern)

    def _additional_properties(
        self, validator: Any, allowed: Any, instance: Any, schema: Mapping[str, Any]
    ) -> Iterator[Any]:
        from jsonschema import ValidationError

        if not isinstance(instance, dict) or allowed is True:
            return
        patterns = schema.get("patternProperties", {})
        properties = schema.get("properties", {})
        surplus = [
            name
            for name in instance
            if name not in properties and not any(self._matches(each, name) for each in patterns)
        ]
        if isinstance(allowed, dict):
            for name in surplus:
                yield from validator.descend(instance[name], allowed, path=name)
        elif surplus:
            listed = ", ".join(_shown(name) for name in surplus[:_MAX_NAMED])
            yield ValidationError(f"no such properties are allowed: {listed}")


def _unique_items(validator: Any, wanted: bool, instance: Any, schema: Any) -> Iterator[Any]:
    """Compare by spelling, once through: the library's own way is quadratic."""
    from jsonschema import ValidationError

    if not wanted or not isinstance(instance, list):
        return
    spelt = {orjson.dumps(_plain(item), option=orjson.OPT_SORT_KEYS) for item in instance}
    if len(spelt) < len(instance):
        yield ValidationError("has an item twice")


def _plain(value: Any) -> Any:
    """Write whole numbers in one way: 1 and 1.0 are the same number."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list) else value


def _compile(pattern: str, path: str) -> Any:
    import regex  # type: ignore[import-untyped]

    try:
        return regex.compile(pattern)  # it remembers the last 500 by itself
    except regex.error as error:
        raise InvalidParams(f"{path}: {error}") from None


def _patterns(schema: Any, path: str) -> Iterable[tuple[str, str]]:
    """Give every pattern with its place. Also what is none, such as a property's name, that is
    only compiled for nothing."""
    if isinstance(schema, list):
        for number, inner in enumerate(schema):
            yield from _patterns(inner, f"{path}[{number}]")
    elif isinstance(schema, dict):
        for keyword, value in schema.items():
            here = f"{path}.{keyword}"
            if keyword == "pattern" and isinstance(value, str):
                yield value, here
            elif keyword == "patternProperties" and isinstance(value, dict):
                yield from ((pattern, here) for pattern in value)
            if keyword not in ("enum", "const", "default", "examples"):
                yield from _patterns(value, here)


def step_of(step: int | str) -> str:
    """Write a step of a path."""
    return f"[{step}]" if isinstance(step, int) else f".{step}"


def _shown(text: str) -> str:
    return repr(text if len(text) <= _SHOWN_CHARS else text[:_SHOWN_CHARS] + "…")
