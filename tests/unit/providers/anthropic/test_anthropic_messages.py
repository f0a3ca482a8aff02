from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sutlerd.domain.errors import InvalidParams
from sutlerd.providers.anthropic_messages import spell_messages

ASK = {"role": "user", "content": "And in Paris and Rome?"}


def call(id: str, arguments: str = '{"city": "Paris"}', name: str = "weather") -> dict[str, Any]:
    return {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}


def calling(*calls: dict[str, Any], content: str | None = None) -> dict[str, Any]:
    return {"role": "assistant", "content": content, "tool_calls": list(calls)}


def result(id: str, content: Any = "rain") -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": id, "content": content}


def turns(*messages: dict[str, Any]) -> list[dict[str, Any]]:
    return spell_messages(messages, [])[1]


def problems(*messages: dict[str, Any]) -> list[str]:
    with pytest.raises(InvalidParams) as raised:
        spell_messages(messages, [])
    listed: list[str] = raised.value.data["problems"]
    return listed


def use(id: str, **arguments: Any) -> dict[str, Any]:
    return {"type": "tool_use", "id": id, "name": "weather", "input": arguments}


def test_instructions_are_hoisted_from_wherever_they_stand() -> None:
    parts = [{"type": "text", "text": "Be kind."}, {"type": "text", "text": "Be fast."}]
    instructions, spelt = spell_messages(
        [
            {"role": "system", "content": "Be brief."},
            ASK,
            {"role": "developer", "content": parts},
        ],
        [],
    )
    assert instructions == ["Be brief.", "Be kind.", "Be fast."]
    assert spelt == [ASK]


def test_messages_of_one_side_in_a_row_become_one_turn() -> None:
    hello, there = {"role": "user", "content": "Hello"}, {"role": "user", "content": "there"}
    (turn,) = turns(hello, there)
    assert turn["content"] == [
        {"type": "text", "text": "Hello"},
        {"type": "text", "text": "there"},
    ]


def test_results_of_several_functions_are_one_turn_and_come_before_its_text() -> None:
    spelt = turns(
        ASK,
        calling(call("a"), call("b", '{"city": "Rome"}'), content="Let me see."),
        result("b", [{"type": "text", "text": "sun"}]),
        {"role": "user", "content": "Hurry."},
        result("a"),
    )
    assert [turn["role"] for turn in spelt] == ["user", "assistant", "user"]
    assert spelt[1]["content"] == [
        {"type": "text", "text": "Let me see."},
        use("a", city="Paris"),
        use("b", city="Rome"),
    ]
    assert spelt[2]["content"] == [
        {"type": "tool_result", "tool_use_id": "b", "content": "sun"},
        {"type": "tool_result", "tool_use_id": "a", "content": "rain"},
        {"type": "text", "text": "Hurry."},
    ]


def test_a_function_called_twice_in_a_conversation_is_told_apart() -> None:
    spelt = turns(ASK, calling(call("a")), result("a"), calling(call("b")), result("b", ""))
    assert [turn["role"] for turn in spelt] == ["user", "assistant", "user", "assistant", "user"]
    assert spelt[-1]["content"] == [{"type": "tool_result", "tool_use_id": "b"}]


def test_the_old_spelling_of_a_result_answers_the_first_call_of_its_function_that_waits() -> None:
    old = {"role": "function", "name": "weather", "content": "rain"}
    spelt = turns(ASK, calling(call("a"), call("b")), old, old)
    assert [block["tool_use_id"] for block in spelt[-1]["content"]] == ["a", "b"]


def test_ids_of_other_providers_are_put_into_the_characters_taken_and_stay_apart() -> None:
    odd = ["call:1", "call.1", "x" * 100, "é"]
    spelt = turns(ASK, calling(*map(call, odd)), *map(result, odd))
    asked = [block["id"] for block in spelt[1]["content"]]
    answered = [block["tool_use_id"] for block in spelt[2]["content"]]
    assert asked == answered
    assert len(set(asked)) == len(odd)
    assert all(i.isascii() and i.replace("_", "").isalnum() and len(i) <= 64 for i in asked)


@given(st.lists(st.text(min_size=1, max_size=80), unique=True, max_size=8))
def test_no_two_ids_become_one(ids: list[str]) -> None:
    spelt = turns(ASK, calling(*map(call, ids)), *map(result, ids)) if ids else []
    assert len({block["id"] for turn in spelt[1:2] for block in turn["content"]}) == len(ids)


@pytest.mark.fault("P23")
def test_arguments_that_were_no_object_are_handed_on_inside_of_one() -> None:
    blocks = turns(
        ASK,
        calling(call("a", '{"city": '), call("b", "[1]"), call("c", "")),
        *map(result, "abc"),
    )[1]["content"]
    assert [block["input"] for block in blocks] == [
        {"invalid_arguments": '{"city": '},
        {"invalid_arguments": "[1]"},
        {},
    ]


def test_a_missing_a_doubled_and_a_strange_result_are_named() -> None:
    assert problems(ASK, calling(call("a"), call("b")), result("a"), ASK) == [
        "params.messages[1].tool_calls[1]: the result of weather is missing after it"
    ]
    assert problems(ASK, calling(call("a")), {"role": "assistant", "content": "hm"}) == [
        "params.messages[1].tool_calls[0]: the result of weather is missing after it"
    ]
    assert (
        "params.messages[3]: answers no call"
        in problems(ASK, calling(call("a")), result("a"), result("a"))[0]
    )
    assert "is there twice" in problems(ASK, calling(call("a"), call("a")), result("a"))[0]
    stray = {"role": "function", "name": "other", "content": "x"}
    assert "params.messages[1]: answers no call" in problems(ASK, stray)[0]


def test_there_has_to_be_a_users_message() -> None:
    assert "no user's message" in problems({"role": "system", "content": "Be brief."})[0]


def image(url: str, **fields: Any) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url, **fields}}


@pytest.mark.fault("X11")
def test_images_go_as_base64_or_as_an_address_that_nobody_here_opens() -> None:
    dropped: list[str] = []
    parts = [
        {"type": "text", "text": "Look."},
        image("data:image/JPG;base64,AA\n==", detail="high"),
        image("http://169.254.169.254/latest"),
    ]
    _, (turn,) = spell_messages([{"role": "user", "content": parts}], dropped)
    assert [block.get("source") for block in turn["content"]] == [
        None,
        {"type": "base64", "media_type": "image/jpeg", "data": "AA=="},
        {"type": "url", "url": "http://169.254.169.254/latest"},
    ]
    assert dropped == ["detail"]


@pytest.mark.parametrize(
    "url", ["data:image/tiff;base64,AA==", "data:image/png,AA", "data:image/png;base64,%%%"]
)
def test_an_image_that_is_not_taken_is_named(url: str) -> None:
    (problem,) = problems({"role": "user", "content": [image(url)]})
    assert problem.startswith("params.messages[0].content[0].image_url.url: must be base64 of")


def test_names_of_speakers_only_hint_and_are_dropped() -> None:
    dropped: list[str] = []
    _, spelt = spell_messages([{**ASK, "name": "bob"}], dropped)
    assert spelt == [ASK]
    assert dropped == ["name"]
