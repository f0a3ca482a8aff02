"""OpenAI's Responses route, as far as it needs no memory of earlier requests."""

from __future__ import annotations

from collections.abc import AsyncIterator

import orjson

from sutlerd.domain.errors import CallError
from sutlerd.http import limits, responses_ask, responses_tell
from sutlerd.http.calls import Calls, Told
from sutlerd.http.door import Ask, Door, Page, Stream
from sutlerd.http.headers import about, options
from sutlerd.http.house import House
from sutlerd.http.openai_errors import OPENAI, error_object
from sutlerd.telemetry.conventions import CHAT


class ResponsesApi:
    def __init__(self, house: House) -> None:
        self._house = house

    def doors(self) -> list[Door]:
        door = Door(
            method="POST", path="/v1/responses", run=self.respond, manners=OPENAI, operation=CHAT
        )
        return [door]

    async def respond(self, ask: Ask) -> Page | Stream:
        params = responses_ask.response(ask.json)
        params |= options(ask.headers, stream=params.get("stream"))
        calls = Calls(self._house, ask, [params])
        created_unix_s = int(self._house.clock.unix_s())
        try:
            if params.get("stream"):
                await calls.first_news()
                events = responses_tell.ResponseEvents(
                    answer_id=calls.request_id, created_unix_s=created_unix_s, asked=ask.json
                )
                known = calls.known_at_once()
                headers = self._headers(ask, known) if known is not None else {}
                headers["x-request-id"] = headers["x-sutler-request-id"] = calls.request_id
                return Stream(pieces=_events(calls, events), headers=headers, done=calls.leave)
            (told,) = await calls.answers()
        except CallError as error:
            calls.leave()
            return OPENAI.error(error, calls.request_id)
        except BaseException:
            calls.leave()
            raise
        calls.leave()
        body = responses_tell.response(
            told.answer.reply,
            answer_id=told.request_id,
            created_unix_s=created_unix_s,
            asked=ask.json,
        )
        return Page(body=orjson.dumps(body), headers=self._headers(ask, told))

    def _headers(self, ask: Ask, told: Told) -> dict[str, str]:
        reply = told.answer.reply
        shares = self._house.services.shares(ask.caller, reply["provider"], reply["model"])
        return about(told) | {"x-request-id": told.request_id} | limits.openai_limits(shares)


async def _events(calls: Calls, events: responses_tell.ResponseEvents) -> AsyncIterator[bytes]:
    yield events.start()
    try:
        async for _, news in calls.pieces():
            if isinstance(news, Told):
                yield events.end(news.answer.reply)
            else:
                yield events.pieces(news)
    except CallError as error:
        yield events.failed(error_object(error))
