"""What a command is asked about: words, standard input, JSON documents."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from sutler.cli_exit import UsageProblem
from sutler.cli_input import decoded, parameters_of, parsed_json, read_file, text_from
from sutler.cli_terminal import Terminal


@pytest.fixture
def term() -> Terminal:
    return Terminal(io.StringIO(), io.StringIO(), {})


def typed(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))


@pytest.mark.parametrize(
    ("words", "stdin", "text"),
    [
        (["two", "words"], b"unread", "two words"),
        ([], b"from a pipe\n", "from a pipe\n"),
        (["-"], b"from a pipe\n", "from a pipe"),
        (["-", "Sum", "it up."], b"the text\n", "the text\n\nSum it up."),
        (["Sum it up:", "-"], b"the text\n", "Sum it up:\n\nthe text"),
        (["Before", "-", "after"], b"mid", "Before\n\nmid\n\nafter"),
        (["Nothing is piped", "-"], b"", "Nothing is piped"),
    ],
)
def test_words_and_standard_input_make_one_text(
    monkeypatch: pytest.MonkeyPatch, term: Terminal, words: list[str], stdin: bytes, text: str
) -> None:
    typed(monkeypatch, stdin)
    assert text_from(words, term) == text


@pytest.mark.parametrize("words", [[], [""], ["-"], ["  "]])
def test_no_text_at_all_is_a_usage_problem(
    monkeypatch: pytest.MonkeyPatch, term: Terminal, words: list[str]
) -> None:
    typed(monkeypatch, b"\n")
    with pytest.raises(UsageProblem, match="there is no text"):
        text_from(words, term)


def test_a_closed_standard_input_is_said(monkeypatch: pytest.MonkeyPatch, term: Terminal) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(UsageProblem, match="closed"):
        text_from([], term)


def test_bytes_of_the_command_line_that_are_no_utf8_are_refused(term: Terminal) -> None:
    with pytest.raises(UsageProblem, match="not UTF-8"):
        text_from([os.fsdecode(b"caf\xe9")], term)


def test_other_encodings_are_named_with_their_first_wrong_byte() -> None:
    with pytest.raises(UsageProblem, match="0xe9 at offset 3"):
        decoded(b"caf\xe9", "standard input")


def test_a_missing_file_is_named(term: Terminal, tmp_path: Path) -> None:
    with pytest.raises(UsageProblem, match=r"nothing\.json: No such file"):
        read_file(str(tmp_path / "nothing.json"), term)


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"", "is empty"),
        (b'{"a": 1,}', "line 1, column 9"),
        (b"[" * 100_000, "nested too deeply"),
        (b"[NaN]", "NaN is not JSON"),
    ],
)
def test_what_is_not_json_is_said_with_its_place(raw: bytes, said: str) -> None:
    with pytest.raises(UsageProblem, match=said):
        parsed_json(raw, "it")


USER = {"role": "user", "content": "Hi"}


@pytest.mark.parametrize(
    ("value", "options", "parameters"),
    [
        ("Hi", {"seed": 1}, {"prompt": "Hi", "seed": 1}),
        ([USER], {}, {"messages": [USER]}),
        ({"prompt": "Hi", "seed": 2}, {"seed": 1}, {"prompt": "Hi", "seed": 2}),
        ({"prompt": "Hi"}, {"system": "S"}, {"prompt": "Hi", "system": "S"}),
        ([USER], {"system": "S"}, {"messages": [{"role": "system", "content": "S"}, USER]}),
        (
            [{"role": "system", "content": "own"}, USER],
            {"system": "S"},
            {"messages": [{"role": "system", "content": "own"}, USER]},
        ),
    ],
)
def test_a_document_goes_before_the_options(
    value: Any, options: dict[str, Any], parameters: dict[str, Any]
) -> None:
    assert parameters_of(value, options) == parameters


@pytest.mark.parametrize(
    "value",
    [
        5,
        None,
        {},
        {"prompt": "a", "messages": []},
        {"prompt": "a", "stream": True},
        {"prompt": 5},
        {"messages": "odd"},
        {"messages": None},
    ],
)
def test_a_document_without_one_question_is_refused(value: Any) -> None:
    with pytest.raises(ValueError):
        parameters_of(value, {})
