"""The Responses API by the official ``openai`` package."""

from __future__ import annotations

from typing import Any

import openai
import pytest

from tests.contract import answers
from tests.integration.faults.rig import Rig
from tests.integration.http.test_openai_sdk import CALL, City, sdk

WEATHER: Any = {
    "type": "function",
    "name": "weather",
    "description": "the weather at a place",
    "parameters": {"type": "object", "properties": {"place": {"type": "string"}}},
    "strict": False,
}


def test_responses_whole_and_streamed_share_the_cache_of_chats(rig: Rig) -> None:
    with sdk(rig) as client:
        whole = client.responses.create(
            model="test-model", input="resp one", instructions="be kind", max_output_tokens=40
        )
        assert whole.output_text == "to: resp one"
        assert whole.status == "completed"
        assert whole.store is False
        assert whole.usage is not None
        assert (whole.usage.input_tokens, whole.usage.output_tokens) == (9, 3)
        chat = client.chat.completions.with_raw_response.create(
            model="test-model",
            max_completion_tokens=40,
            messages=[
                {"role": "system", "content": "be kind"},
                {"role": "user", "content": "resp one"},
            ],
        )
        assert chat.headers["x-sutler-cached"] == "true"
        with client.responses.stream(model="test-model", input="resp two") as stream:
            kinds = [event.type for event in stream]
            final = stream.get_final_response()
        assert final.output_text == "to: resp two"
        assert kinds[:4] == [
            "response.created",
            "response.in_progress",
            "response.output_item.added",
            "response.content_part.added",
        ]
        assert kinds[-4:] == [
            "response.output_text.done",
            "response.content_part.done",
            "response.output_item.done",
            "response.completed",
        ]


def test_tools_make_the_round_trip_whole_and_streamed(rig: Rig) -> None:
    rig.answers["resp in Bern"] = answers.openai_chat(
        None, finish_reason="tool_calls", tool_calls=[CALL]
    )
    with sdk(rig) as client:
        asked: Any = [{"role": "user", "content": "resp in Bern"}]
        reply = client.responses.create(model="test-model", input=asked, tools=[WEATHER])
        call = reply.output[0]
        assert call.type == "function_call"
        assert (call.name, call.arguments) == ("weather", '{"place": "Bern"}')
        with client.responses.stream(model="test-model", input=asked, tools=[WEATHER]) as stream:
            streamed = stream.get_final_response().output[0]
        assert streamed.type == "function_call"
        assert (streamed.call_id, streamed.arguments) == (call.call_id, call.arguments)
        rig.answers.clear()
        asked += [call.model_dump(exclude_none=True)]
        asked += [{"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}]
        again = client.responses.create(model="test-model", input=asked, tools=[WEATHER])
        assert again.output_text == "to: sunny"


def test_structured_output_is_parsed_and_state_is_refused(rig: Rig) -> None:
    rig.answers["resp city"] = answers.openai_chat('{"name": "Bern", "people": 134000}')
    with sdk(rig) as client:
        reply = client.responses.parse(model="test-model", input="resp city", text_format=City)
        rig.answers.clear()
        assert reply.output_parsed == City(name="Bern", people=134000)
        with pytest.raises(openai.BadRequestError, match="nothing is kept between requests"):
            client.responses.create(model="test-model", input="x", previous_response_id="resp_123")
        with pytest.raises(openai.BadRequestError, match="only functions of the client"):
            client.responses.create(model="test-model", input="x", tools=[{"type": "web_search"}])
