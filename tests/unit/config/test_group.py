"""A group of settings: frozen, strict, and every fault told with its place."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from sutlerd.config.faults import Faults
from sutlerd.config.schema import Config, DaemonConfig, LimitsConfig
from sutlerd.config.schema_llm import BudgetRule, LaneGrant
from sutlerd.config.schema_provider import CapabilityOverride, RateLimits


def faults_of(data: object) -> list[tuple[str, str, str]]:
    with pytest.raises(Faults) as caught:
        Config.model_validate(data)
    return [(".".join(map(str, f.path)), f.kind, f.said) for f in caught.value.faults]


def test_a_group_cannot_be_changed_and_a_copy_can_differ() -> None:
    group = DaemonConfig()
    with pytest.raises(AttributeError, match="frozen"):
        group.drain_s = 1.0  # type: ignore[misc]
    with pytest.raises(AttributeError, match="frozen"):
        del group.drain_s
    copy = group.model_copy(update={"drain_s": 1.0})
    assert (copy.drain_s, group.drain_s) == (1.0, 30.0)
    assert copy != group == DaemonConfig()
    assert hash(group) == hash(DaemonConfig())
    assert group != LimitsConfig()


def test_values_are_kept_as_what_the_annotations_say() -> None:
    limits = RateLimits.model_validate({"requests_per_minute": 3, "burst_s": 2, "share": "1/16"})
    assert (limits.requests_per_minute, limits.share) == (3, Fraction(1, 16))
    assert type(limits.burst_s) is float
    daemon = DaemonConfig.model_validate({"socket": "/run/x", "redact": ["abcd"]})
    assert daemon.socket == Path("/run/x")
    assert [secret.reveal() for secret in daemon.redact] == ["abcd"]
    assert LaneGrant.model_validate({"users": [7, "ada"]}).users == (7, "ada")


def test_a_group_within_itself_and_a_name_that_python_has_taken() -> None:
    outer = RateLimits.model_validate({"models": {"a": "auto", "b": {"models": {"c": {}}}}})
    assert outer.models["a"].auto
    assert outer.models["b"].models["c"] == RateLimits()
    assert CapabilityOverride.model_validate({"schema": True}).schema_ is True
    with pytest.raises(Faults, match="schema_: unknown"):
        CapabilityOverride.model_validate({"schema_": True})


@pytest.mark.parametrize("value", [True, "5", 5.0, None, [5], float("nan")])
def test_a_whole_number_is_nothing_else(value: object) -> None:
    assert faults_of({"limits": {"connections": value}}) == [
        ("limits.connections", "wrong", "must be a whole number")
    ]


@pytest.mark.parametrize("value", [-1, 2**32, True, 1.5, None, [], {}])
def test_an_account_is_a_name_or_a_number(value: object) -> None:
    assert faults_of({"access": {"users": ["ada", 0, value]}}) == [
        ("access.users.2", "wrong", "must be a name or a number")
    ]


def test_every_fault_is_told_and_none_hides_another() -> None:
    data = {
        "daemon": {"drain_s": -1, "log_level": "loud", "socket": 7, "what": 1},
        "http": [],
        "llm": {"providers": {"a b": {"kind": "openai", "models": "m"}}, "budget": {"rules": [{}]}},
    }
    assert {(path, kind) for path, kind, _ in faults_of(data)} == {
        ("daemon.drain_s", "wrong"),
        ("daemon.log_level", "word"),
        ("daemon.socket", "wrong"),
        ("daemon.what", "unknown"),
        ("http", "wrong"),
        ("llm.default_provider", "wrong"),  # the only provider's name is its default
        ("llm.providers.a b", "wrong"),
        ("llm.providers.a b.models", "wrong"),
        ("llm.budget.rules.0.per", "missing"),
        ("llm.budget.rules.0.limit_usd", "missing"),
    }


def test_what_is_dumped_names_every_setting() -> None:
    assert LimitsConfig().model_dump()["nesting"] == 64
    assert Config().model_dump()["llm"]["providers"]["embedded"]["kind"] == "embedded"
    rule = {"per": "uid", "limit_usd": 3}
    assert BudgetRule.model_validate(rule).model_dump()["period"] == "day"
