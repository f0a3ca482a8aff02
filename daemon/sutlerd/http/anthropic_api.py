"""Anthropic's routes: messages, and the counting of their tokens."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import orjson

from sutlerd.domain.errors import CallError
from sutlerd.http import anthropic_ask, limits
from sutlerd.http.anthropic_errors import ANTHROPIC, error_event
from sutlerd.http.anthropic_tell import Events, message
from sutlerd.http.calls import Calls, Told
from sutlerd.http.door import Ask, Door, Page, Stream, json_page
from sutlerd.http.embeds import Working
from sutlerd.http.headers import about, options
from sutlerd.http.house import House
from sutlerd.pipeline.params import CountTokensParams, parse
from sutlerd.telemetry.conventions import CHAT


class AnthropicApi:
    def __init__(self, house: House) -> None:
        self._house = house

    def doors(self) -> list[Door]:
        def door(path: str, run: Any, operation: str | None = None) -> Door:
            return Door(method="POST", path=path, run=run, manners=ANTHROPIC, operation=operation)

        return [
            door("/v1/messages", self.messages, CHAT),
            door("/v1/messages/count_tokens", self.count_tokens),
        ]

    async def messages(self, ask: Ask) -> Page | Stream:
        params = anthropic_ask.messages(ask.json)
        params |= options(ask.headers, stream=params.get("stream"))
        calls = Calls(self._house, ask, [params])
        if params.get("stream"):
            return await self._stream(ask, calls)
        try:
            (told,) = await calls.answers()
        except CallError as error:
            return ANTHROPIC.error(error, calls.request_id)
        finally:
            calls.leave()
        body = message(told.answer.reply, answer_id=told.request_id)
        return Page(body=orjson.dumps(body), headers=self._headers(ask, told))

    async def count_tokens(self, ask: Ask) -> Page:
        params = parse(CountTokensParams, anthropic_ask.counted(ask.json))
        try:
            counted = await Working(self._house, ask).do(
                lambda: self._house.services.counting.count(params)
            )
        except CallError as error:
            return ANTHROPIC.error(error, None)
        headers = {
            "x-sutler-exact": "true" if counted["exact"] else "false",
            "x-sutler-method": counted["method"],
        }
        return json_page({"input_tokens": counted["tokens"]}, headers=headers)

    async def _stream(self, ask: Ask, calls: Calls) -> Page | Stream:
        try:
            await calls.first_news()
        except CallError as error:
            calls.leave()
            return ANTHROPIC.error(error, calls.request_id)
        except BaseException:
            calls.leave()
            raise
        known = calls.known_at_once()
        headers = (
            self._headers(ask, known)
            if known is not None
            else {"x-sutler-request-id": calls.request_id, "request-id": calls.request_id}
        )
        events = Events(answer_id=calls.request_id, model=str(ask.json.get("model") or ""))
        return Stream(pieces=_events(calls, events), headers=headers, done=calls.leave)

    def _headers(self, ask: Ask, told: Told) -> dict[str, str]:
        reply = told.answer.reply
        shares = self._house.services.shares(ask.caller, reply["provider"], reply["model"])
        now_unix_s = self._house.clock.unix_s()
        return {
            **about(told),
            "request-id": told.request_id,
            **limits.anthropic_limits(shares, now_unix_s=now_unix_s),
        }


async def _events(calls: Calls, events: Events) -> AsyncIterator[bytes]:
    yield events.start()
    try:
        async for _, news in calls.pieces():
            if isinstance(news, Told):
                yield events.end(news.answer.reply)
            else:
                yield events.pieces(news)
    except CallError as error:
        yield error_event(error)
