"""Values, calls of functions and runs of tools, by a real model that is small enough to err."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from sutler import AsyncClient, Client, InvalidOutput, InvalidParams
from tests.support.daemon_process import DaemonProcess

CITY = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "minLength": 1, "maxLength": 20},
        "size": {"enum": ["small", "large"]},
    },
    "required": ["city", "size"],
    "additionalProperties": False,
}


def get_weather(city: str) -> dict[str, Any]:
    """Get today's weather in a city."""
    return {"city": city, "sky": "sunny", "degrees": 21}


def test_client_json(client: Client) -> None:
    value = client.json("Name a city and its size.", CITY, temperature=0, max_tokens=60)
    assert set(value) == {"city", "size"}
    assert value["size"] in ("small", "large")
    reply = client.complete("Name a city and its size.", schema=CITY, temperature=0, max_tokens=60)
    assert reply.parsed == value
    again = client.complete("Name a city and its size.", schema=CITY, temperature=0, max_tokens=60)
    assert again.cached and again.parsed == value
    anything = client.json("Give a JSON object with one city.", temperature=0, max_tokens=60)
    assert isinstance(anything, dict)


def test_a_value_that_the_model_has_no_room_for_is_an_error_with_its_text(client: Client) -> None:
    with pytest.raises(InvalidOutput) as caught:
        client.json("Name a city and its size.", CITY, temperature=0, max_tokens=4)
    assert caught.value.data["content"].startswith("{")
    assert caught.value.data["errors"] == ["$: no JSON in the answer"]
    assert caught.value.data["repairs"] == 2
    with pytest.raises(InvalidParams, match=r"params\.schema\.type: must be one of"):
        client.json("x", {"type": "objekt"})


def test_client_function_call(client: Client) -> None:
    reply = client.function_call(
        [{"role": "user", "content": "What is the weather in Paris today?"}],
        [get_weather],
        "get_weather",
        temperature=0,
        max_tokens=60,
    )
    (call,) = reply.tool_calls
    assert (reply.finish_reason, call.name) == ("tool_calls", "get_weather")
    assert isinstance(call.parsed_arguments()["city"], str)
    offered = client.function_call("Say hello.", [get_weather], temperature=0, max_tokens=8)
    assert offered.content or offered.tool_calls


def test_tools_run_until_there_is_an_answer(client: Client) -> None:
    seen: list[str] = []

    def look(city: str) -> dict[str, Any]:
        """Get today's weather in a city."""
        seen.append(city)
        return get_weather(city)

    reply = client.run_tools(
        "What is the weather in Paris today?",
        {"look": look},
        function_call="required",
        temperature=0,
        max_tokens=60,
    )
    assert len(seen) == 1
    assert reply.content


def test_the_asyncio_client_runs_them_too(daemon: DaemonProcess) -> None:
    async def look(city: str) -> dict[str, Any]:
        """Get today's weather in a city."""
        return get_weather(city)

    async def run() -> None:
        async with AsyncClient(str(daemon.socket), timeout_s=50) as client:
            value = await client.json("Name a city and its size.", CITY, max_tokens=60)
            assert set(value) == {"city", "size"}
            reply = await client.run_tools(
                "What is the weather in Paris today?",
                {"look": look},
                function_call="look",
                temperature=0,
                max_tokens=60,
            )
            assert reply.content

    asyncio.run(run())


def test_a_streamed_call_comes_as_one_piece(client: Client) -> None:
    function = {"name": "ping", "parameters": {"type": "object", "additionalProperties": False}}
    with client.stream(
        "Ping.", functions=[function], function_call="ping", temperature=0, max_tokens=40
    ) as stream:
        pieces = [chunk.tool_calls for chunk in stream]
    assert pieces == [
        [{"index": 0, "id": call.id, "function": {"name": "ping", "arguments": call.arguments}}]
        for call in stream.result.tool_calls
    ]
