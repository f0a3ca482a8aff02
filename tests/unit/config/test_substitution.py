"""``${NAME}``, credentials and secret files: followed exactly, told by name, never by value."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from sutlerd.config.loader import load
from sutlerd.config.problems import ConfigError
from sutlerd.config.substitute import Sources, SubstitutionFault

SERVER = """\
llm:
  providers:
    mine: {kind: openai_compatible, base_url: "http://127.0.0.1:1/v1", default_model: m, %s}
"""


def _sources(environ: Mapping[str, str], files: Mapping[str, bytes] | None = None) -> Sources:
    def read(path: str, limit_bytes: int) -> bytes:
        try:
            return (files or {})[path][:limit_bytes]
        except KeyError:
            raise FileNotFoundError(2, "No such file or directory") from None

    return Sources(environ, read)


@pytest.mark.parametrize(
    ("text", "becomes"),
    [
        ("plain", "plain"), ("${A}", "1"), ("x${A}y${B}z", "x1y2z"), ("${C:-d}", "d"),
        ("${E:-d}", "d"), ("${A:-d}", "1"), ("${C:-}", ""), ("$${A}", "${A}"), ("$A", "$A"),
        ("$$${A}", "$$${A}".replace("$${", "${")), ("${C:-a b:c}", "a b:c"), ("${NONE}", None),
        ("${A}${NONE}", None), ("${E}", None),
    ],
)  # fmt: skip
def test_references_are_replaced_and_nothing_else(text: str, becomes: str | None) -> None:
    assert _sources({"A": "1", "B": "2", "E": ""}).substitute(text).text == becomes


def test_a_value_that_looks_like_a_reference_is_not_replaced_again() -> None:
    assert _sources({"A": "${B}", "B": "2"}).substitute("${A}").text == "${B}"


@pytest.mark.parametrize("text", ["${", "${A", "${1}", "${A B}", "${}", "${A:=x}"])
def test_a_malformed_reference_is_a_fault(text: str) -> None:
    with pytest.raises(SubstitutionFault, match="begins no"):
        _sources({"A": "secret"}).substitute(text)


def test_a_credential_goes_before_a_variable_of_the_same_name() -> None:
    environ = {"CREDENTIALS_DIRECTORY": "/run/c", "A": "from environment", "B": "b"}
    sources = _sources(environ, {"/run/c/A": b"from credential\n"})
    assert sources.substitute("${A}").text == "from credential"
    assert sources.substitute("${A}").origin == "credential A"
    assert sources.substitute("${B}").text == "b"


def test_secrets_may_stand_in_files_and_credentials() -> None:
    sources = _sources({"CREDENTIALS_DIRECTORY": "/c"}, {"/c/k": b"one\n", "/k": b" two \n"})
    assert sources.secret("credential:k").text == "one"
    assert sources.secret("file:/k").text == "two"
    assert sources.secret("file:/k").origin == "file:/k"
    assert sources.secret("sk:three").text == "sk:three"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("file:relative", "absolute path"),
        ("file:/none", "file:/none: No such file"),
        ("file:/empty", "file:/empty is empty"),
        ("file:/raw", "not UTF-8"),
        ("credential:../x", "wants the name"),
        ("credential:..", "wants the name"),
        ("credential:k", r"LoadCredential=k"),
    ],
)
def test_a_secret_that_cannot_be_read_names_its_place(text: str, words: str) -> None:
    with pytest.raises(SubstitutionFault, match=words):
        _sources({}, {"/empty": b" \n", "/raw": b"\xff"}).secret(text)


def test_a_variable_is_text_where_text_belongs_and_a_number_elsewhere(load_text) -> None:
    text = """\
llm:
  default_model: ${MODEL}
  max_retries: "${RETRIES}"
  budget: {daily_limit_usd: "${USD}", share: "1/${NODES}"}
  providers: {openai: {api_key: "${KEY}", models: ["${MODEL}"]}}
access: {users: ["${UID}"]}
"""
    environ = {"MODEL": "1e3", "RETRIES": "2", "USD": "0.1", "NODES": "3", "KEY": "123456789"}
    config = load_text(text, environ | {"UID": "1000"}).config
    assert config.llm.default_model == "1e3"
    assert config.llm.max_retries == 2
    assert str(config.llm.budget.daily_limit_usd) == "0.1"
    assert str(config.llm.budget.share) == "1/3"
    assert config.llm.providers["openai"].api_key.reveal() == "123456789"
    assert config.access.users == (1000,)


def test_a_setting_whose_variable_is_unset_is_as_not_written(load_text) -> None:
    loaded = load_text("llm:\n  max_retries: ${NONE}\n  aliases: {a: '${NONE}', b: x}\n")
    assert loaded.config.llm.max_retries == 3
    assert loaded.config.llm.aliases == {"b": "x"}
    assert [(w.line, w.path, w.message) for w in loaded.warnings] == [
        (2, "llm.max_retries", "$NONE is not set: left out"),
        (3, "llm.aliases.a", "$NONE is not set: left out"),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "llm: {budget: {enabled: true, daily_limit_usd: '${NONE}'}}",
        "llm: {budget: {daily_limit_usd: 1, monthly_limit_usd: '${NONE}'}}",
        "llm: {rate_limits: {embedded: {requests_per_minute: '${NONE}'}}}",
        "access: {users: '${NONE}'}",
        "daemon: {socket_mode: '${NONE}'}",
        "limits: {calls: '${NONE}'}",
    ],
)
def test_money_quota_and_access_never_fall_open_for_an_unset_variable(problems, text: str) -> None:
    assert any("$NONE is not set" in problem.message for problem in problems(text))


@pytest.mark.fault("O15")
def test_a_provider_whose_key_is_unset_is_off_and_says_so(load_text) -> None:
    text = SERVER % 'api_key: "${MY_KEY}"'
    loaded = load_text(text)
    assert loaded.config.off("mine") == "$MY_KEY is not set"
    assert not loaded.config.llm.providers["mine"].api_key.is_set
    assert load_text(text, {"MY_KEY": "k"}).config.off("mine") is None


def test_the_usual_variable_is_looked_up_where_no_key_is_written(load_text) -> None:
    text = "llm: {default_provider: openai, fallback_providers: [vllm], providers: {vllm: %s}}"
    text %= "{default_model: m}"
    loaded = load_text(text, {"OPENAI_API_KEY": "sk-0123456789"})
    assert loaded.config.llm.providers["openai"].api_key.reveal() == "sk-0123456789"
    assert loaded.origins["llm.providers.openai.api_key"] == "$OPENAI_API_KEY"
    assert loaded.config.off("vllm") is None
    without = load_text(text).config
    assert without.off("openai") == "no api_key, and $OPENAI_API_KEY is not set"
    assert without.off("vllm") is None


def test_a_key_in_a_real_file_or_credential_is_read(load_text, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("sk-from-a-file\n")
    key.chmod(0o600)
    provider = load_text(SERVER % f"api_key: 'file:{key}'").config.llm.providers["mine"]
    assert provider.api_key.reveal() == "sk-from-a-file"
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    provider = load_text(SERVER % "api_key: credential:key", environ).config.llm.providers["mine"]
    assert provider.api_key.reveal() == "sk-from-a-file"


@pytest.mark.fault("X16")
def test_a_secret_file_that_others_can_write_is_refused(problems, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("sk-planted\n")
    key.chmod(0o622)
    (problem,) = problems(SERVER % f"api_key: 'file:{key}'")
    assert "can be written by others" in problem.message


def test_a_secret_in_a_file_that_everybody_can_read_is_told(load_text) -> None:
    text = SERVER % "api_key: sk-literal-0123"
    told = [w.path for w in load_text(text, mode=0o644).warnings]
    assert "llm.providers.mine.api_key" in told
    assert [w.path for w in load_text(text, mode=0o640).warnings] == []
    loaded = load_text(SERVER % "api_key: '${K}'", {"K": "sk-x"}, mode=0o644)
    assert loaded.warnings == ()


def test_the_command_line_goes_above_the_file_and_is_named_in_its_faults(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text("daemon: {log_level: info, drain_s: 5}\n")
    path.chmod(0o600)
    loaded = load(path, {}, overrides={"daemon.log_level": "debug", "daemon.socket": "/run/x"})
    assert loaded.config.daemon.log_level == "debug"
    assert loaded.config.daemon.drain_s == 5
    assert str(loaded.config.daemon.socket) == "/run/x"
    assert loaded.origins["daemon.log_level"] == "command line"
    with pytest.raises(ConfigError, match=r"^command line: daemon.log_level: must be 'debug'"):
        load(None, {}, overrides={"daemon.log_level": "loud"})
