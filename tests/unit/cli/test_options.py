"""Options of the command line become parameters of a call."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import pytest

from sutler.cli_exit import UsageProblem
from sutler.cli_options import add_call_options, call_parameters


def parameters(*words: str) -> dict[str, Any]:
    parser = argparse.ArgumentParser(exit_on_error=False)
    add_call_options(parser)
    return call_parameters(parser.parse_args(words))


def test_what_is_not_given_is_left_out() -> None:
    assert parameters() == {}


def test_every_option_has_its_name_on_the_wire(tmp_path: Path) -> None:
    schema = tmp_path / "schema.json"
    schema.write_text(json.dumps({"type": "object"}))
    given = "--system S --model m --provider p --temperature 0 --top-p 0.5 --max-tokens 9"
    given += " --seed -1 --sample 0 --cache only --cache-ttl 60 --lane background"
    given += " --fallback groq,ollama/llama3 --stop A --stop B --schema " + str(schema)
    assert parameters(*given.split()) == {
        "system": "S",
        "model": "m",
        "provider": "p",
        "temperature": 0.0,
        "top_p": 0.5,
        "max_tokens": 9,
        "seed": -1,
        "sample": 0,
        "cache": "only",
        "cache_ttl_s": 60.0,
        "lane": "background",
        "fallback": ["groq", "ollama/llama3"],
        "stop": ["A", "B"],
        "schema": {"type": "object"},
    }


@pytest.mark.parametrize(("word", "value"), [("on", True), ("off", False)])
def test_fallback_is_switched_on_and_off(word: str, value: bool) -> None:
    assert parameters("--fallback", word) == {"fallback": value}


@pytest.mark.parametrize(
    "words",
    [
        ("--temperature", "hot"),
        ("--temperature", "nan"),
        ("--temperature", "-1"),
        ("--max-tokens", "0"),
        ("--max-tokens", "1.5"),
        ("--timeout", "0"),
        ("--timeout", "inf"),
        ("--cache", "maybe"),
        ("--lane", "fast"),
        ("--label", "component"),
        ("--label", "=x"),
    ],
)
def test_a_senseless_value_is_refused_before_anything_is_sent(words: tuple[str, str]) -> None:
    with pytest.raises(argparse.ArgumentError):
        parameters(*words)


@pytest.mark.parametrize(
    ("text", "said"), [("{", "is not JSON"), ("[]", "must hold a JSON object")]
)
def test_a_schema_that_is_none_is_a_usage_problem(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "schema.json"
    path.write_text(text)
    with pytest.raises(UsageProblem, match=said):
        parameters("--schema", str(path))
    with pytest.raises(UsageProblem, match="No such file"):
        parameters("--schema", str(tmp_path / "missing.json"))
