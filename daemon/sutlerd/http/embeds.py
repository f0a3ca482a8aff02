"""``/v1/embeddings``: texts in, vectors out, each text cached by itself as on the socket."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import orjson

from sutlerd.domain.errors import CallError, InvalidParams, ShuttingDown
from sutlerd.http.calls import refused
from sutlerd.http.door import Ask, Page, json_page
from sutlerd.http.headers import options
from sutlerd.http.house import House
from sutlerd.http.openai_errors import OPENAI
from sutlerd.pipeline.params import EmbedParams, parse
from sutlerd.pipeline.resolve import read_labels
from sutlerd.telemetry.conventions import EMBEDDINGS

Result = TypeVar("Result")
_TAKEN = ("model", "dimensions", "encoding_format", "user")


class Working:
    """A piece of work of its own for a request, such as ``embed``: counted as a call."""

    def __init__(self, house: House, ask: Ask) -> None:
        self._house = house
        self._ask = ask
        self._task: asyncio.Task[Any] | None = None
        self._told: CallError | None = None
        self.held_bytes = 0

    async def do(self, work: Callable[[], Awaitable[Result]]) -> Result:
        """Await the work. Raises what it does, or what it was cancelled with."""
        house, ask = self._house, self._ask
        try:
            if house.draining:
                raise ShuttingDown("the daemon is stopping: reconnect and ask again")
            house.call_opened(ask.caller, ask.body_bytes)
        except CallError as error:
            house.tally.failed(error.type)
            raise
        ask.client.pending[self] = None
        self._task = asyncio.ensure_future(_run(work))
        try:
            result: Result = await self._task
        except CallError as error:
            house.tally.failed(error.type)
            raise
        except asyncio.CancelledError:
            house.tally.failed(self._told.type if self._told is not None else "abandoned")
            if self._told is not None:
                raise self._told from None
            self._task.cancel()
            raise
        finally:
            ask.client.pending.pop(self, None)
            house.call_ended(ask.caller, ask.body_bytes)
        return result

    def cancel(self, error: CallError) -> None:
        self._told = error
        self.abandon()

    def abandon(self) -> None:
        if self._task is not None:
            self._task.cancel()


async def _run(work: Callable[[], Awaitable[Result]]) -> Result:
    return await work()


async def embed(house: House, ask: Ask, body: Any) -> Page:
    """``body`` is what was asked, with texts where there were tokens."""
    asked = _params(body)
    named = options(ask.headers)
    params = parse(EmbedParams, {**asked, **named})
    labels = read_labels(params.labels)
    try:
        raw = await Working(house, ask).do(
            lambda: house.services.embeddings.embed(params, ask.caller, labels)
        )
    except CallError as error:
        refused(house, EMBEDDINGS, ask.caller, named, error)
        return OPENAI.error(error, params.request_id)
    return _page(orjson.loads(raw))


def _params(body: Any) -> dict[str, Any]:
    if not isinstance(body, dict):
        raise InvalidParams("the body must be a JSON object")
    given = body.get("input")
    texts = [given] if isinstance(given, str) else given
    if not isinstance(texts, list) or not texts or not all(isinstance(t, str) for t in texts):
        raise InvalidParams("input: must be text, or a list of texts")
    if "" in texts:
        raise InvalidParams(f"input[{texts.index('')}]: must not be empty")
    asked: dict[str, Any] = {"texts": texts}
    extra = {}
    for name, value in body.items():
        if name == "input" or value is None:
            continue
        if name in _TAKEN:
            asked[name] = value
        else:
            extra[name] = value
    if extra:
        asked["extra"] = extra
    return asked


def _page(result: dict[str, Any]) -> Page:
    tokens_in = result["usage"]["prompt_tokens"] or 0
    body = {
        "object": "list",
        "data": [
            {"object": "embedding", "index": index, "embedding": vector}
            for index, vector in enumerate(result["embeddings"])
        ],
        "model": result["model"],
        "usage": {"prompt_tokens": tokens_in, "total_tokens": tokens_in},
    }
    headers = {
        "x-request-id": result["request_id"],
        "x-sutler-request-id": result["request_id"],
        "x-sutler-provider": result["provider"],
        "x-sutler-cached": "true" if result["cached"] == len(result["embeddings"]) else "false",
        "x-sutler-cached-texts": str(result["cached"]),
    }
    if result["cost_nanousd"] is not None:
        headers["x-sutler-cost-nanousd"] = str(result["cost_nanousd"])
    return json_page(body, headers=headers)
