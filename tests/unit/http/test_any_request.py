"""Whatever JSON comes, a translator gives parameters or says what is wrong with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sutlerd.domain.errors import InvalidParams
from sutlerd.http import anthropic_ask, openai_ask, responses_ask
from sutlerd.pipeline.messages import check_messages

WORDS = st.sampled_from(
    [
        "text",
        "image",
        "tool_use",
        "tool_result",
        "message",
        "function",
        "function_call",
        "function_call_output",
        "user",
        "assistant",
        "json_schema",
        "input_text",
        "tool",
        "auto",
    ]
)
NAMES = st.sampled_from(
    [
        "type",
        "role",
        "content",
        "text",
        "source",
        "name",
        "input",
        "format",
        "schema",
        "function",
        "id",
        "tool_use_id",
        "call_id",
        "output",
        "arguments",
        "image_url",
        "url",
        "tool_calls",
    ]
)
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 5) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=5),
    max_leaves=12,
)
MEMBERS = st.sampled_from(
    [
        "messages",
        "prompt",
        "input",
        "instructions",
        "system",
        "tools",
        "tool_choice",
        "text",
        "n",
        "stop",
        "stop_sequences",
        "max_tokens",
        "metadata",
        "output_config",
        "thinking",
        "stream",
        "reasoning",
        "response_format",
        "stream_options",
        "output_format",
        "model",
        "unknown",
    ]
)
TRANSLATORS: list[Callable[[Any], Any]] = [
    openai_ask.chat,
    openai_ask.completion,
    responses_ask.response,
    anthropic_ask.messages,
    anthropic_ask.counted,
]


@pytest.mark.parametrize("translate", TRANSLATORS, ids=lambda each: each.__qualname__)
@given(body=st.dictionaries(MEMBERS, JSON, max_size=8) | JSON)
def test_any_json_is_translated_or_refused(translate: Callable[[Any], Any], body: Any) -> None:
    try:
        found = translate(body)
    except InvalidParams:
        return
    params = found[0] if isinstance(found, tuple) else found
    if isinstance(params, dict) and all(isinstance(m, dict) for m in params["messages"]):
        check_messages(params["messages"])
