from __future__ import annotations

from typing import Any

import pytest

from sutlerd.domain.errors import InvalidParams
from sutlerd.pipeline.messages import check_messages
from sutlerd.pipeline.params import CompleteParams, EmbedParams, parse


def problems_of(params: dict[str, Any]) -> list[str]:
    with pytest.raises(InvalidParams) as refused:
        parse(CompleteParams, params)
    listed: list[str] = refused.value.data["problems"]
    return listed


@pytest.mark.fault("C19")
@pytest.mark.parametrize(
    ("params", "path"),
    [
        ({"messages": []}, "params.messages:"),
        ({"prompt": ""}, "params.prompt:"),
        ({"prompt": "x", "temperature": "hot"}, "params.temperature:"),
        ({"prompt": "x", "temperature": 2.1}, "params.temperature: must be ≤ 2"),
        ({"prompt": "x", "max_tokens": 0}, "params.max_tokens: must be ≥ 1"),
        ({"prompt": "x", "max_tokens": -1}, "params.max_tokens: must be ≥ 1"),
        ({"prompt": "x", "max_tokens": 10**18}, "params.max_tokens:"),
        ({"prompt": "x", "timeout_s": 0}, "params.timeout_s: must be > 0"),
        ({"prompt": "x", "timeout_s": -1}, "params.timeout_s:"),
        ({"prompt": "x", "cache_ttl_s": -1}, "params.cache_ttl_s:"),
        ({"prompt": "x", "cache": "maybe"}, "params.cache:"),
        ({"prompt": "x", "lane": "fast"}, "params.lane:"),
        ({"prompt": "x", "stream": 1}, "params.stream:"),
        ({"prompt": "x", "request_id": 'a"b'}, "params.request_id:"),
        ({"prompt": "x", "labels": {"rank": [1]}}, "params.labels.rank:"),
    ],
)
def test_a_senseless_parameter_is_refused_with_its_path(params: dict[str, Any], path: str) -> None:
    assert any(problem.startswith(path) for problem in problems_of(params))


@pytest.mark.fault("C19")
def test_twenty_faults_are_told_in_one_answer() -> None:
    wrong = {f"surplus_{number}": 1 for number in range(12)} | {
        "prompt": 5,
        "temperature": "hot",
        "max_tokens": 0,
        "timeout_s": -1,
        "lane": "x",
        "cache": "x",
        "seed": "x",
        "stream": "x",
    }
    paths = {problem.split(":")[0] for problem in problems_of(wrong)}
    assert paths == {f"params.{name}" for name in wrong}


@pytest.mark.fault("C19")
def test_an_unknown_parameter_names_the_nearest_known_one() -> None:
    assert problems_of({"promt": "x"})[0] == (
        "params.promt: no such parameter; did you mean prompt?"
    )
    assert "did you mean max_tokens?" in problems_of({"prompt": "x", "max_token": 5})[0]


@pytest.mark.fault("X10")
@pytest.mark.parametrize(
    "model",
    ["gpt-4o\r\nX-Evil: 1", "../../admin", "a/../b", "a?key=b", "%2e%2e", "m" * 1_000_000, ""],
)
def test_a_model_name_that_is_no_name_is_refused(model: str) -> None:
    assert problems_of({"prompt": "x", "model": model})


def test_embed_takes_texts_and_nothing_else_by_that_name() -> None:
    with pytest.raises(InvalidParams):
        parse(EmbedParams, {"texts": "one"})
    assert parse(EmbedParams, {"texts": ["one"]}).encoding_format == "float"


@pytest.mark.fault("C19")
@pytest.mark.parametrize(
    ("message", "path"),
    [
        ({"content": "x"}, "params.messages[0].role"),
        ({"role": "wizard", "content": "x"}, "params.messages[0].role"),
        ({"role": "user"}, "params.messages[0].content"),
        ({"role": "user", "content": ""}, "params.messages[0].content"),
        ({"role": "user", "content": []}, "params.messages[0].content"),
        ({"role": "user", "content": [{"type": "audio"}]}, "params.messages[0].content[0]"),
        ({"role": "user", "content": "x", "tool_calls": [{}]}, "params.messages[0].tool_calls"),
        ({"role": "tool", "content": "x"}, "params.messages[0].tool_call_id"),
        ({"role": "user", "content": "x", "surplus": 1}, "params.messages[0].surplus"),
        ({"role": "user", "content": "x", "name": "a b"}, "params.messages[0].name"),
    ],
)
def test_a_wrong_message_is_refused_with_its_path(message: dict[str, Any], path: str) -> None:
    _, problems = check_messages([message])
    assert any(problem.startswith(path) for problem in problems)


@pytest.mark.fault("X11")
@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "ftp://x/y", "gopher://x", "data:text/html,x"]
)
def test_an_image_is_http_or_inline_and_no_other_address(url: str) -> None:
    part = {"type": "image_url", "image_url": {"url": url}}
    _, problems = check_messages([{"role": "user", "content": [part]}])
    assert problems


def test_a_round_of_tool_calls_is_kept_whole() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    asked = [
        {"role": "user", "content": "x"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": ""},
    ]
    messages, problems = check_messages(asked)
    assert not problems
    assert list(messages) == asked
