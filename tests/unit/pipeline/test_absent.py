"""Providers without their key: what is stored of theirs comes first, and nothing is asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import pytest

from sutlerd.domain.errors import InvalidParams
from sutlerd.pipeline.absent import Absent, Way, absent
from sutlerd.pipeline.route import Router
from sutlerd.providers.contract import Provider


@dataclass(frozen=True)
class Listed:
    name: str
    default_model: str = "m"
    models: tuple[str, ...] = ("m",)
    embed_models: tuple[str, ...] = ("e",)


def router(*in_service: str, first: str = "one", **aliases: str) -> Router:
    return Router(
        providers=[Listed(name) for name in in_service],
        off={name: "$KEY is not set" for name in ("one", "two") if name not in in_service},
        default_provider=first,
        default_model=None,
        fallback=["two"],
        fallback_models={},
        aliases=aliases,
    )


def known(served: Router, *keyless: str) -> Absent:
    made = absent({name: cast(Provider, Listed(name)) for name in keyless}, served)
    assert made is not None
    return made


def way(served: Router, *keyless: str, **asked: Any) -> Way:
    return known(served, *keyless).way(
        served, **{"model": None, "provider": None, "fallback": None, **asked}
    )


def shown(found: Way) -> tuple[list[str], list[str], bool]:
    return (
        [str(route) for route in found.routes],
        [str(route) for route in found.first],
        found.refusal is not None,
    )


def test_where_every_key_is_there_nothing_is_looked_for() -> None:
    assert absent({}, router("one", "two")) is None


def test_answers_of_a_first_choice_without_its_key_come_before_those_of_others() -> None:
    served = router("two")
    assert shown(way(served, "one")) == (["two/m"], ["one/m"], False)
    assert shown(way(served, "one", provider="two")) == (["two/m"], [], False)
    assert shown(way(router("one"), "two")) == (["one/m"], [], False)


def test_where_nobody_is_in_service_there_is_what_is_stored_and_then_the_reason() -> None:
    found = way(router(), "one", "two")
    assert shown(found) == (["one/m", "two/m"], ["one/m", "two/m"], True)
    assert "one: $KEY is not set; two: $KEY is not set" in str(found.refusal)
    assert shown(way(router("two"), "one", model="one/x")) == (["one/x"], ["one/x"], True)
    with pytest.raises(InvalidParams, match="no provider 'three'"):
        way(router("two"), "one", provider="three")
    with pytest.raises(InvalidParams, match="no provider lists 'y'"):
        way(router("two"), "one", model="y")


def test_a_call_that_may_not_fall_back_is_not_served_by_the_next_of_the_chain() -> None:
    with pytest.raises(InvalidParams, match=r"one, the default provider, is off \(\$KEY"):
        router("two").chain(model=None, provider=None, fallback=False)
    (route,) = router("two").chain(model=None, provider="two", fallback=False)
    assert str(route) == "two/m"
    assert shown(way(router("two"), "one", fallback=False)) == (["one/m"], ["one/m"], True)


def test_vectors_of_the_first_choice_are_found_where_no_other_gives_any() -> None:
    served = router()
    route, refusal = known(served, "one").embed_route(served, model=None, provider=None)
    assert (str(route), refusal is None) == ("one/e", False)
    other = router("two")
    route, refusal = known(other, "one").embed_route(other, model=None, provider="one")
    assert (str(route), refusal is None) == ("one/e", False)
    route, refusal = known(other, "one").embed_route(other, model=None, provider=None)
    assert (str(route), refusal) == ("two/e", None)
