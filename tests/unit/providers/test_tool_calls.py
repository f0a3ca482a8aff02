from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sutlerd.providers import tool_calls
from sutlerd.providers.tool_calls import ToolCallAssembler


def gather(*fragments: dict[str, Any]) -> list[tuple[str, str]]:
    assembler = ToolCallAssembler("seed")
    for fragment in fragments:
        assembler.add(**fragment)
    return [(call.name, call.arguments) for call in assembler.finish()]


WHOLE = [("f", '{"a":1}'), ("g", "{}")]


@pytest.mark.fault("P23")
@pytest.mark.parametrize(
    "fragments",
    [
        pytest.param(
            [
                {"index": 0, "id": "1", "name": "f", "arguments": '{"a"'},
                {"index": 1, "id": "2", "name": "g", "arguments": "{"},
                {"index": 0, "arguments": ":1}"},
                {"index": 1, "arguments": "}"},
            ],
            id="interleaved by index",
        ),
        pytest.param(
            [
                {"id": "1", "name": "f", "arguments": '{"a"'},
                {"arguments": ":1}"},
                {"id": "2", "name": "g", "arguments": "{}"},
            ],
            id="no index",
        ),
        pytest.param(
            [
                {"index": 0, "id": "1", "name": "f", "arguments": '{"a":1}'},
                {"index": 0, "id": "2", "name": "g", "arguments": "{}"},
            ],
            id="every call whole under index 0",
        ),
        pytest.param(
            [
                {"index": 0, "name": "f", "arguments": '{"a":1}'},
                {"index": 0, "name": "g", "arguments": "{}"},
            ],
            id="the same without ids",
        ),
        pytest.param(
            [
                {"index": 0, "id": "1", "name": "f", "arguments": '{"a"'},
                {"index": 0, "id": "1", "name": "f", "arguments": ":1}"},
                {"index": 1, "id": "2", "name": "g", "arguments": "{}"},
            ],
            id="id and name repeated",
        ),
        pytest.param(
            [
                {"index": 0, "id": "r1", "name": "f", "arguments": '{"a"'},
                {"index": 0, "id": "r2", "arguments": ":1}"},
                {"index": 1, "id": "r3", "name": "g", "arguments": "{"},
                {"index": 1, "id": "r4", "name": None, "arguments": "}"},
            ],
            id="a new id with every fragment",
        ),
        pytest.param(
            [
                {"id": "1", "name": "f", "arguments": '{"a"'},
                {"id": "2", "name": "g", "arguments": "{"},
                {"id": "1", "arguments": ":1}"},
                {"id": "2", "arguments": "}"},
            ],
            id="interleaved by id",
        ),
        pytest.param(
            [
                {"index": 0, "arguments": '{"a"'},
                {"index": 0, "name": "f", "arguments": ":1}"},
                {"index": "1", "name": "g"},
            ],
            id="name late, index of a wrong type, no arguments",
        ),
        pytest.param(
            [
                {"index": 0, "id": "1", "name": "f", "arguments": {"a": 1}},
                {"index": 0, "id": "2", "name": "g", "arguments": None},
            ],
            id="arguments as an object",
        ),
    ],
)
def test_fragments_gather_as_they_were_meant(fragments: list[dict[str, Any]]) -> None:
    assert gather(*fragments) == WHOLE


def test_made_up_ids_differ_between_calls_and_replies_and_are_the_same_for_the_same() -> None:
    def ids(seed: str) -> list[str]:
        assembler = ToolCallAssembler(seed)
        for index in range(2):
            assembler.add(index, None, "f", "{}")
        return [call.id for call in assembler.finish()]

    assert ids("a") == ids("a")
    assert len({*ids("a"), *ids("b")}) == 4


def test_id_and_name_come_once_with_all_that_came_before_the_name() -> None:
    assembler = ToolCallAssembler("seed")
    first = assembler.add(0, "1", None, "{")
    assert (first.id, first.name, first.arguments) == (None, None, "")
    named = assembler.add(0, None, "f", "}")
    assert (named.id, named.name, named.arguments) == ("1", "f", "{}")
    assert assembler.add(0, "1", "f", " ").id is None


@pytest.mark.fault("P23")
def test_broken_arguments_are_handed_on_and_marked() -> None:
    assembler = ToolCallAssembler()
    assembler.add(0, "1", "f", '{"a": tru')
    (call,) = assembler.finish()
    assert (call.arguments, call.broken) == ('{"a": tru', True)


def test_a_call_that_was_never_named_is_an_error() -> None:
    with pytest.raises(ValueError, match="without a name"):
        gather({"index": 0, "arguments": "{}"})


@pytest.mark.fault("X13")
def test_calls_and_fragments_have_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tool_calls, "MAX_TOOL_CALLS", 10)
    with pytest.raises(ValueError, match="tool calls"):
        gather(*[{"index": n, "name": "f"} for n in range(11)])
    monkeypatch.setattr(tool_calls, "MAX_TOOL_FRAGMENTS", 10)
    with pytest.raises(ValueError, match="fragments"):
        gather(*[{"index": 0, "name": "f"}] * 11)


@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "index": st.none() | st.integers(-2, 3) | st.just("0"),
                "id": st.none() | st.sampled_from(["", "a", "b"]) | st.just(7),
                "name": st.none() | st.sampled_from(["", "f", "g"]),
                "arguments": st.none() | st.sampled_from(["", "{", "}", "{}", "x"]),
            }
        ),
        max_size=12,
    )
)
def test_what_was_passed_on_and_the_whole_calls_are_the_same(
    fragments: list[dict[str, Any]],
) -> None:
    assembler = ToolCallAssembler("seed")
    told: dict[int, str] = {}
    for fragment in fragments:
        piece = assembler.add(**fragment)
        told[piece.index] = told.get(piece.index, "") + piece.arguments
    try:
        calls = assembler.finish()
    except ValueError:
        return
    assert [told[n] or "{}" for n in range(len(calls))] == [call.arguments for call in calls]
