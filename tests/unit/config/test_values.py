"""Values are typed by where they stand and by how they were written, never guessed."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sutlerd.config.materialise import resolve
from sutlerd.config.schema import Config


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("", None), ("~", None), ("null", None), ("NULL", None),
        ("true", True), ("Yes", True), ("ON", True), ("no", False), ("off", False),
        ("yEs", "yEs"), ("5", 5), ("-5", -5), ("+5", 5), ("0", 0), ("100_000", 100_000),
        ("1e3", 1000.0), ("1.5", 1.5), (".5", 0.5), ("2.", 2.0), ("1.0e-3", 0.001),
        ("0600", "0600"), ("00.5", "00.5"), ("0x10", "0x10"), ("1:30", "1:30"),
        ("2026-11-23", "2026-11-23"), (".inf", ".inf"), (".nan", ".nan"), ("1_0.5", "1_0.5"),
        ("9" * 40, "9" * 40), ("text", "text"), ("-", "-"), ("<<", "<<"),
    ],
)  # fmt: skip
def test_an_unquoted_scalar_is_read_by_narrow_rules(written: str, value: Any) -> None:
    read = resolve(written)
    assert (read, type(read)) == (value, type(value))


@pytest.mark.fault("X16")
@pytest.mark.parametrize("word", ["no", "1e3", "5", "true", "1.0", "[a]", "{a: b}"])
def test_what_is_no_text_is_refused_where_text_belongs(problems, word: str) -> None:
    for text in (
        f"llm:\n  default_model: {word}\n",
        f"llm:\n  providers:\n    openai: {{default_model: {word}}}\n",
        f"daemon:\n  log_level: {word}\n",
        f"daemon:\n  redact: [{word}]\n",
    ):
        assert [problem.line for problem in problems(text)] == [text.count("\n")]


@pytest.mark.fault("X16")
@pytest.mark.parametrize("word", ["'5'", "yes", "1.5", "soon", "[1]", "''"])
def test_what_is_no_whole_number_is_refused_where_one_belongs(problems, word: str) -> None:
    (problem,) = problems(f"llm: {{max_retries: {word}}}")
    assert problem.message == "must be a whole number"


@pytest.mark.parametrize(("written", "seconds"), [("5", 5.0), ("1e3", 1000.0), ("0.5", 0.5)])
def test_a_time_is_a_number_however_it_is_written(load_text, written: str, seconds: float) -> None:
    llm = load_text(f"llm: {{timeout_seconds: {written}}}").config.llm
    assert (llm.timeout_seconds, type(llm.timeout_seconds)) == (seconds, float)


@given(st.decimals(min_value=0, max_value=10**9, places=9))
def test_money_keeps_every_digit_that_was_written(amount: Decimal) -> None:
    from sutlerd.config.materialise import materialise
    from sutlerd.config.shape import Holds, Shape
    from sutlerd.config.substitute import Sources
    from sutlerd.config.yaml_tree import parse

    root, _ = parse(f"llm: {{budget: {{daily_limit_usd: {amount:f}}}}}")
    assert root is not None
    shape = Shape(holds=Holds.GROUP, model=Config)
    values = materialise(root, shape, Sources({}, lambda *_: b""), lambda *_: None)
    assert Config.model_validate(values.data).llm.budget.daily_limit_usd == amount


@pytest.mark.parametrize("amount", ["'5'", "-1", "1e10", "no", ".inf", "1/3"])
def test_what_is_no_amount_of_money_is_refused(problems, amount: str) -> None:
    (problem,) = problems(f"llm: {{budget: {{daily_limit_usd: {amount}}}}}")
    assert problem.message.startswith("must be")


def test_money_given_as_a_float_by_a_program_is_refused() -> None:
    with pytest.raises(ValueError, match="dollars"):
        Config.model_validate({"llm": {"budget": {"daily_limit_usd": 0.1}}})


@pytest.mark.parametrize(
    ("written", "part"),
    [("1/16", Fraction(1, 16)), ("0.25", Fraction(1, 4)), ("0.1", Fraction(1, 10)), ("1", 1)],
)
def test_a_share_is_exact(load_text, written: str, part: Fraction) -> None:
    budget = load_text(f"llm: {{budget: {{daily_limit_usd: 1, share: {written}}}}}").config
    assert budget.llm.budget.share == part


@pytest.mark.parametrize(
    "written", ["0", "2", "1/0", "-1/2", "half", "yes", "1/16/2", '"1e-9999999"']
)
def test_what_is_no_share_is_refused(problems, written: str) -> None:
    (problem,) = problems(f"llm: {{budget: {{daily_limit_usd: 1, share: {written}}}}}")
    assert problem.path == "llm.budget.share"


@pytest.mark.parametrize(
    ("written", "bits"), [('"0600"', 0o600), ("0660", 0o660), ('"660"', 0o660), ('"0o666"', 0o666)]
)
def test_a_socket_mode_is_octal_text(load_text, written: str, bits: int) -> None:
    assert load_text(f"daemon: {{socket_mode: {written}}}").config.daemon.socket_mode_bits == bits


@pytest.mark.parametrize("written", ["600", '"0900"', '"06000"', "rw", "0o600x"])
def test_what_is_no_mode_is_refused(problems, written: str) -> None:
    (problem,) = problems(f"daemon: {{socket_mode: {written}}}")
    assert problem.path == "daemon.socket_mode"


@pytest.mark.parametrize(
    "address",
    [
        "ftp://host/v1", "host/v1", "http://", "http://u:p@host/v1", "http://host/v1?key=1",
        "http://host/#x", "http://host:99999/", "'http://a b/'", "'http://[::1/'",
    ],
)  # fmt: skip
def test_what_is_no_plain_address_is_refused(problems, address: str) -> None:
    provider = f"{{kind: openai_compatible, default_model: m, base_url: {address}}}"
    (problem,) = problems(f"llm: {{providers: {{mine: {provider}}}}}")
    assert problem.path == "llm.providers.mine.base_url"


def test_accounts_are_names_or_numbers(load_text) -> None:
    access = load_text("access: {users: [alice, 1000, '1001'], operators: {groups: [wheel]}}")
    assert access.config.access.users == ("alice", 1000, "1001")
    assert access.config.access.groups is None
    assert access.config.access.operators.groups == ("wheel",)


def test_an_empty_list_of_users_is_not_the_same_as_none(load_text) -> None:
    assert load_text("access: {users: []}").config.access.users == ()
    assert load_text("access: {}").config.access.users is None


def test_a_group_with_every_line_commented_out_is_as_not_written(load_text) -> None:
    config = load_text("llm:\n  cache:\n    # ttl_seconds: 5\n  fallback_providers:\ndaemon:\n")
    assert config.config == Config()


def test_a_home_folder_is_written_with_a_tilde(load_text, monkeypatch) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    daemon = load_text("daemon: {state_dir: ~/state}").config.daemon
    assert str(daemon.state_dir) == "/home/someone/state"
