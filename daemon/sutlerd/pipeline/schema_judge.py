"""Judges a model's answer by a JSON Schema: in a thread, under a time limit, without a fetch.

A schema comes from a caller and an answer from a model; neither may hold up the daemon. Every
keyword that is looked at asks the time, patterns are matched by an engine that can be stopped,
and no reference leads out of the schema, of which `schema_shape` has made sure.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar

import orjson

from sutlerd.domain.errors import InvalidParams
from sutlerd.pipeline.json_text import is_too_deep, json_values
from sutlerd.pipeline.schema_shape import DRAFTS

JUDGING_LIMIT_S = 1.0
MAX_ERRORS = 10
MAX_ERROR_CHARS = 300
MAX_MATCHED_CHARS = 256 * 1024
_MAX_KNOWN = 128
_MAX_THREADS = 4
_PATH_CHARS = 200
_BY_DEFAULT = "https://json-schema.org/draft/2020-12/schema"


T = TypeVar("T")


class TooSlow(Exception):
    """An answer could not be judged within the limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """``value`` is the answer if ``errors`` is empty. Each error is ``$.path: what is wrong``,
    in words that may quote the answer. ``final``: asking again would not help."""

    value: Any = None
    errors: tuple[str, ...] = ()
    final: bool = False


class _Turn:
    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.calls = 0


class SchemaJudge:
    """Remembers the schemas it was last asked about. For the event loop."""

    def __init__(self, *, limit_s: float = JUDGING_LIMIT_S) -> None:
        self._limit_s = limit_s
        self._lock = threading.Lock()
        self._known: OrderedDict[bytes, Any] = OrderedDict()
        self._under = threading.local()
        self._drafts: dict[str, Any] = {}
        self._turns: dict[int, _Turn] = {}
        self._threads = ThreadPoolExecutor(_MAX_THREADS, thread_name_prefix="judge")

    async def prepare(self, schema: Mapping[str, Any], *, uid: int) -> None:
        """Raise ``InvalidParams`` for a schema that its draft does not allow."""
        key = orjson.dumps(schema)
        if key not in self._known:
            await self._in_turn(uid, lambda: self._validator(key, schema))

    async def judge(self, text: str, schema: Mapping[str, Any] | None, *, uid: int) -> Judgement:
        """Find the JSON in an answer and hold it against the schema, if there is one."""
        return await self._in_turn(uid, lambda: self._judge(text, schema))

    async def _in_turn(self, uid: int, work: Callable[[], T]) -> T:
        """Work in a thread, for one call at a time of each user: who brings what is slow to
        judge waits for himself. A thread cannot be stopped: the turn lasts as long as it works,
        also for a call that was cancelled."""
        turn = self._turns.setdefault(uid, _Turn())
        turn.calls += 1
        try:
            await turn.lock.acquire()
        except BaseException:
            self._leave(uid, turn)
            raise
        loop = asyncio.get_running_loop()

        def over(_: object) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(self._end_turn, uid, turn)

        done = self._threads.submit(work)
        done.add_done_callback(over)
        return await asyncio.wrap_future(done)

    def _end_turn(self, uid: int, turn: _Turn) -> None:
        turn.lock.release()
        self._leave(uid, turn)

    def _leave(self, uid: int, turn: _Turn) -> None:
        turn.calls -= 1
        if not turn.calls:
            self._turns.pop(uid, None)

    def _judge(self, text: str, schema: Mapping[str, Any] | None) -> Judgement:
        values = json_values(text)
        if not values:
            said = "there is no text in the answer" if not text.strip() else "no JSON in the answer"
            return Judgement(errors=(f"$: {said}",))
        found = [value for value in values if not is_too_deep(value)]
        if not found:
            return Judgement(errors=("$: nested too deep",))
        if schema is None:
            return Judgement(value=found[0])
        validator = self._validator(orjson.dumps(schema), schema)
        self._under.limit_s = time.monotonic() + self._limit_s
        first: tuple[str, ...] = ()
        try:
            for value in found:
                errors = _errors(validator, value)
                if not errors:
                    return Judgement(value=value)
                first = first or errors
        except (TooSlow, TimeoutError):
            return Judgement(errors=("$: it takes too long to check by this schema",), final=True)
        except RecursionError:
            return Judgement(errors=("$: nested too deep for this schema",), final=True)
        return Judgement(errors=first)

    def _validator(self, key: bytes, schema: Mapping[str, Any]) -> Any:
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
            path = "".join(_step(step) for step in error.absolute_path)
            said = error.message[:MAX_ERROR_CHARS]
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
        left_s: float = self._under.limit_s - time.monotonic()
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
            listed = ", ".join(_shown(name) for name in surplus[:MAX_ERRORS])
            yield ValidationError(f"no such properties are allowed: {listed}")


def _errors(validator: Any, value: Any) -> tuple[str, ...]:
    """Say what is wrong with a value; of alternatives, what is wrong with the nearest one."""
    from jsonschema.exceptions import best_match

    said: dict[str, None] = {}
    for error in islice(validator.iter_errors(value), MAX_ERRORS):
        told = best_match([error]) or error
        path = "".join(_step(step) for step in told.absolute_path)[:_PATH_CHARS]
        said[f"${path}: {told.message[:MAX_ERROR_CHARS]}"] = None
    return tuple(said)


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


def _step(step: int | str) -> str:
    return f"[{step}]" if isinstance(step, int) else f".{step}"


def _shown(text: str) -> str:
    return repr(text if len(text) <= _PATH_CHARS else text[:_PATH_CHARS] + "…")
