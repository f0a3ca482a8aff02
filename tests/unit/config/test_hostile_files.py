"""Files made to hurt, and files that somebody else could have written, are refused whole."""

from __future__ import annotations

import os
import string
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sutlerd.config.loader import Loaded, load
from sutlerd.config.materialise import MAX_VALUES
from sutlerd.config.problems import ConfigError
from sutlerd.config.schema import Config
from sutlerd.config.source import FileRead
from sutlerd.config.yaml_tree import MAX_FILE_BYTES

BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join(['*' + chr(97 + i)] * 10)}]\n" for i in range(9)
)


@pytest.mark.fault("X16")
def test_an_alias_bomb_is_refused_before_it_unfolds(problems) -> None:
    found = problems(BOMB)
    assert any(f"more than {MAX_VALUES} values" in problem.message for problem in found)


@pytest.mark.fault("X16")
def test_a_file_over_the_limit_is_refused_by_its_size(problems) -> None:
    (problem,) = problems(b"#" * (MAX_FILE_BYTES + 1))
    assert problem.message == f"is over {MAX_FILE_BYTES} bytes"


@pytest.mark.fault("X16")
def test_a_hundred_megabytes_are_not_even_read(config_file: Path) -> None:
    config_file.touch(mode=0o600)
    os.truncate(config_file, 100 * 1024 * 1024)
    with pytest.raises(ConfigError, match="is over"):
        load(config_file, {})


@pytest.mark.fault("X16")
@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666, 0o777])
def test_a_file_that_others_can_write_is_refused(load_text, mode: int) -> None:
    with pytest.raises(ConfigError, match=r"can be written by others.*chmod go-w"):
        load_text("daemon: {}", mode=mode)


@pytest.mark.fault("X16")
@pytest.mark.parametrize(("owner", "own"), [(1001, 1000), (1001, 0)])
def test_a_file_of_another_user_is_refused(owner: int, own: int) -> None:
    def somebodys(path: Path, limit_bytes: int) -> FileRead:
        return FileRead(data=b"", owner_uid=owner, mode=0o600)

    with pytest.raises(ConfigError, match="belongs to uid 1001"):
        load(Path("/x"), {}, read_file=somebodys, own_uid=own)


@pytest.mark.parametrize(("owner", "own"), [(0, 1000), (1000, 1000), (0, 0)])
def test_a_file_of_root_or_of_oneself_is_taken(owner: int, own: int) -> None:
    def ones_own(path: Path, limit_bytes: int) -> FileRead:
        return FileRead(data=b"", owner_uid=owner, mode=0o640)

    assert load(Path("/x"), {}, read_file=ones_own, own_uid=own).config == Config()


def test_a_file_that_is_not_there_or_no_file_is_told(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe, 0o600)
    for path, words in (
        (tmp_path / "none.yaml", "No such file"),
        (tmp_path, "not a regular file"),
        (pipe, "not a regular file"),
        (Path("a\0b"), "is not a path"),
    ):
        with pytest.raises(ConfigError, match=words):
            load(path, {})


@pytest.mark.parametrize("raw", [b"a: \xff", b"a: 1\nb: \xed\xa0\x80", "a: ü".encode("utf-16")])
def test_bytes_that_are_no_utf8_are_told_with_their_line(problems, raw: bytes) -> None:
    (problem,) = problems(raw)
    assert "not UTF-8" in problem.message
    assert problem.line == raw[: raw.find(b"\xed")].count(b"\n") + 1


_WORDS = st.sampled_from(
    [
        "llm", "providers", "openai", "mine", "kind", "models", "api_key", "budget", "cache",
        "rate_limits", "daily_limit_usd", "timezone", "access", "users", "daemon", "socket",
        "limits", "fallback_providers", "default_provider", "endpoints", "capabilities", "schema",
        "headers", "share", "auto", "yes", "no", "1e3", "5", "-1", "0.5", "null", "~", "''",
        '"${A}"', "${A}", "${B:-x}", "${", "$${", "file:/nowhere", "credential:x", "/a", "&a",
        "*a", "!!str", "!x", "<<", "http://127.0.0.1/v1", "redis://:p@h/1",
    ]
)  # fmt: skip
_GLUE = st.sampled_from(
    [": ", ":\n  ", "\n", "\n  ", "\n    ", ", ", "[", "]", "{", "}", "- ", " "]
)
_YAMLISH = st.lists(st.tuples(_WORDS, _GLUE), max_size=40).map(
    lambda pairs: "".join(word + glue for word, glue in pairs).encode()
)
_TREES = st.recursive(
    _WORDS,
    lambda inner: (
        st.lists(inner, max_size=4).map(lambda items: "[" + ", ".join(items) + "]")
        | st.lists(st.tuples(_WORDS, inner), max_size=4).map(
            lambda pairs: "{" + ", ".join(f"{key}: {value}" for key, value in pairs) + "}"
        )
    ),
    max_leaves=25,
).map(str.encode)


@pytest.mark.fault("X16")
@settings(
    max_examples=400,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(raw=_YAMLISH | _TREES | st.binary(max_size=200) | st.text(string.printable).map(str.encode))
def test_any_bytes_give_a_configuration_or_problems_with_lines(raw: bytes) -> None:
    def reading(path: Path, limit_bytes: int) -> FileRead:
        return FileRead(data=raw[:limit_bytes], owner_uid=0, mode=0o600)

    outcome: Loaded | ConfigError
    try:
        outcome = load(Path("f.yaml"), {"A": "value"}, read_file=reading, own_uid=0)
    except ConfigError as error:
        outcome = error
    if isinstance(outcome, Loaded):
        assert outcome.config.llm.default_provider in outcome.config.llm.providers
        return
    assert outcome.problems
    assert all(problem.line is None or problem.line >= 1 for problem in outcome.problems)
    assert all(str(problem).startswith("f.yaml") for problem in outcome.problems)
