"""Judges a model's answer by a JSON Schema: in a thread, under a time limit, without a fetch.

A schema comes from a caller and an answer from a model; neither may hold up the daemon. What
may stand in a schema is decided by `schema_shape`, how it is judged by stands in `schema_rules`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any, TypeVar

import orjson

from sutlerd.domain.record import record
from sutlerd.pipeline.json_text import is_too_deep, json_values
from sutlerd.pipeline.schema_rules import SchemaRules, TooSlow, step_of

JUDGING_LIMIT_S = 1.0
MAX_ERRORS = 10
MAX_ERROR_CHARS = 300
_MAX_THREADS = 4
_PATH_CHARS = 200


T = TypeVar("T")


@record
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
    """One per configuration. For the event loop."""

    def __init__(self, *, limit_s: float = JUDGING_LIMIT_S) -> None:
        self._limit_s = limit_s
        self._rules = SchemaRules()
        self._turns: dict[int, _Turn] = {}
        self._threads = ThreadPoolExecutor(_MAX_THREADS, thread_name_prefix="judge")

    async def prepare(self, schema: Mapping[str, Any], *, uid: int) -> None:
        """Raise ``InvalidParams`` for a schema that its draft does not allow."""
        key = orjson.dumps(schema)
        if not self._rules.knows(key):
            await self._in_turn(uid, lambda: self._rules.validator(key, schema))

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
        validator = self._rules.validator(orjson.dumps(schema), schema)
        self._rules.begin(self._limit_s)
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


def _errors(validator: Any, value: Any) -> tuple[str, ...]:
    """Say what is wrong with a value; of alternatives, what is wrong with the nearest one."""
    from jsonschema.exceptions import best_match

    said: dict[str, None] = {}
    for error in islice(validator.iter_errors(value), MAX_ERRORS):
        told = best_match([error]) or error
        path = "".join(step_of(step) for step in told.absolute_path)[:_PATH_CHARS]
        said[f"${path}: {told.message[:MAX_ERROR_CHARS]}"] = None
    return tuple(said)
