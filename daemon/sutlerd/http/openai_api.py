"""OpenAI's routes: chat completions, completions, embeddings, models."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any, Protocol

import orjson

from sutlerd.domain.errors import CallError
from sutlerd.http import limits, openai_ask, openai_tell
from sutlerd.http.calls import Calls, Told
from sutlerd.http.door import Ask, Door, Page, Stream, json_page
from sutlerd.http.embeds import embed
from sutlerd.http.headers import about, options
from sutlerd.http.house import House
from sutlerd.http.manners import wants_anthropic
from sutlerd.http.models import anthropic_models, one_model, openai_models
from sutlerd.http.openai_errors import OPENAI, error_event
from sutlerd.http.token_arrays import TokenArrays
from sutlerd.telemetry.conventions import CHAT, EMBEDDINGS

Render = Callable[..., dict[str, Any]]


class Chunks(Protocol):
    def pieces(self, number: int, pieces: Sequence[bytes]) -> bytes: ...
    def end(self, number: int, reply: Mapping[str, Any]) -> bytes: ...
    def usage(self, replies: Sequence[Mapping[str, Any]]) -> bytes: ...


class OpenAiApi:
    def __init__(self, house: House) -> None:
        self._house = house
        self._token_arrays = TokenArrays()

    def doors(self) -> list[Door]:
        def door(method: str, path: str, run: Any, operation: str | None = None) -> Door:
            return Door(method=method, path=path, run=run, manners=OPENAI, operation=operation)

        return [
            door("POST", "/v1/chat/completions", self.chat, CHAT),
            door("POST", "/v1/completions", self.completion, CHAT),
            door("POST", "/v1/embeddings", self.embeddings, EMBEDDINGS),
            door("GET", "/v1/models", self.models),
            door("GET", "/v1/models/", self.model),
        ]

    async def chat(self, ask: Ask) -> Page | Stream:
        params, samples = openai_ask.chat(ask.json)
        params |= options(ask.headers, stream=params.get("stream"))
        wanted = openai_ask.samples_of(params, samples)
        if params.get("stream"):
            return await self._stream(ask, wanted, openai_tell.ChatChunks)
        return await self._whole(ask, wanted, openai_tell.chat)

    async def completion(self, ask: Ask) -> Page | Stream:
        wanted: list[dict[str, Any]] = []
        prompts = openai_ask.completion(await self._in_text(ask, "prompt"))
        named = options(ask.headers, stream=prompts[0][0].get("stream"))
        for place, (params, samples) in enumerate(prompts):
            call = {**params, **named}
            if place and "request_id" in call:
                call["request_id"] = f"{call['request_id']}/p{place}"
            wanted += openai_ask.samples_of(call, samples)
        if wanted[0].get("stream"):
            return await self._stream(ask, wanted, openai_tell.CompletionChunks)
        return await self._whole(ask, wanted, openai_tell.completion)

    async def embeddings(self, ask: Ask) -> Page:
        return await embed(self._house, ask, await self._in_text(ask, "input"))

    async def _in_text(self, ask: Ask, member: str) -> Any:
        aliases = self._house.services.aliases
        return await self._token_arrays.in_text(ask.json, member, ask.headers, aliases)

    async def models(self, ask: Ask) -> Page:
        services = self._house.services
        told = anthropic_models if wants_anthropic(ask.headers) else openai_models
        return json_page(told(await services.list_models(), services.aliases))

    async def model(self, ask: Ask) -> Page:
        services = self._house.services
        return one_model(await services.list_models(), services.aliases, ask)

    async def _whole(self, ask: Ask, wanted: list[dict[str, Any]], render: Render) -> Page:
        calls = Calls(self._house, ask, wanted)
        try:
            told = await calls.answers()
        except CallError as error:
            return OPENAI.error(error, calls.request_id)
        finally:
            calls.leave()
        body = render(
            [each.answer.reply for each in told],
            answer_id=calls.request_id,
            created_unix_s=int(self._house.clock.unix_s()),
        )
        return Page(body=orjson.dumps(body), headers=self._headers(ask, told))

    async def _stream(
        self, ask: Ask, wanted: list[dict[str, Any]], make: Callable[..., Chunks]
    ) -> Page | Stream:
        calls = Calls(self._house, ask, wanted)
        try:
            await calls.first_news()
        except CallError as error:
            calls.leave()
            return OPENAI.error(error, calls.request_id)
        except BaseException:
            calls.leave()
            raise
        chunks = make(
            answer_id=calls.request_id,
            created_unix_s=int(self._house.clock.unix_s()),
            model=str(ask.json.get("model") or ""),
        )
        known = calls.known_at_once()
        headers = (
            self._headers(ask, [known])
            if known is not None
            else {"x-sutler-request-id": calls.request_id, "x-request-id": calls.request_id}
        )
        events = _events(calls, chunks, usage=openai_ask.include_usage(ask.json))
        return Stream(pieces=events, headers=headers, done=calls.leave)

    def _headers(self, ask: Ask, told: Sequence[Told]) -> dict[str, str]:
        headers = about(told[0])
        headers["x-request-id"] = told[0].request_id
        if len(told) > 1:
            headers["x-sutler-cached"] = "true" if all(t.answer.cached for t in told) else "false"
            costs = [each.cost_nanousd for each in told]
            if None not in costs:
                headers["x-sutler-cost-nanousd"] = str(sum(cost or 0 for cost in costs))
        reply = told[0].answer.reply
        shares = self._house.services.shares(ask.caller, reply["provider"], reply["model"])
        return headers | limits.openai_limits(shares)


async def _events(calls: Calls, chunks: Chunks, *, usage: bool) -> AsyncIterator[bytes]:
    replies: list[Mapping[str, Any]] = []
    try:
        async for number, news in calls.pieces():
            if isinstance(news, Told):
                reply = news.answer.reply
                replies.append(reply)
                yield chunks.end(number, reply)
            else:
                yield chunks.pieces(number, news)
        tail = chunks.usage(replies) if usage else b""
        yield tail + openai_tell.DONE
    except CallError as error:
        yield error_event(error)
