"""A record behaves as the frozen dataclass that the type checker takes it for."""

from __future__ import annotations

import copy
import pickle
from dataclasses import asdict, dataclass, field, fields, replace

import pytest

from sutlerd.domain.record import quick, record


@record
class Point:
    """Where."""

    x: int
    y: int = 0
    names: list[str] = field(default_factory=list)


@record
class One:
    only: str


@record
class Checked:
    size: int

    def __post_init__(self) -> None:
        if self.size < 0:
            raise ValueError("a size is not negative")


@record
class Hiding:
    shown: int
    secret: str = field(default="canary", repr=False)
    counted: int = field(default=0, compare=False)


def test_fields_are_given_by_name_and_defaults_are_made_for_each() -> None:
    first, second = Point(x=1), Point(x=1)
    assert (first.x, first.y, first.names) == (1, 0, [])
    assert first.names is not second.names
    assert [each.name for each in fields(Point)] == ["x", "y", "names"]


def test_what_is_missing_or_unknown_is_named() -> None:
    with pytest.raises(TypeError, match="'x'"):
        Point()
    with pytest.raises(TypeError, match="'z'"):
        Point(x=1, z=2)


def test_equality_and_hash_are_by_value() -> None:
    assert One(only="a") == One(only="a") != One(only="b")
    assert hash(One(only="a")) == hash(One(only="a"))


def test_what_is_checked_after_is_checked_every_time() -> None:
    for _ in range(2):
        with pytest.raises(ValueError, match="negative"):
            Checked(size=-1)


def test_it_is_copied_changed_and_sent_like_any_dataclass() -> None:
    point = Point(x=1, names=["a"])
    assert repr(point) == "Point(x=1, y=0, names=['a'])"
    assert replace(point, y=5) == Point(x=1, y=5, names=["a"])
    assert copy.deepcopy(point) == point
    assert pickle.loads(pickle.dumps(point)) == point
    assert asdict(point) == {"x": 1, "y": 0, "names": ["a"]}


def test_what_is_not_to_be_shown_or_compared_is_not() -> None:
    assert repr(Hiding(shown=1)) == "Hiding(shown=1, counted=0)"
    assert Hiding(shown=1, counted=1) == Hiding(shown=1, counted=2)
    assert Hiding(shown=1, secret="other") != Hiding(shown=1)


@dataclass(slots=True, kw_only=True)
class Moving:
    at: Point
    name: str | None = None
    told: list[str] = field(default_factory=list)


def test_what_is_made_quickly_is_what_the_class_makes() -> None:
    point, one, hiding, moving = quick(Point), quick(One), quick(Hiding), quick(Moving)
    for _ in range(3):  # the first time differs from the others
        assert point(x=1, y=2, names=["a"]) == Point(x=1, y=2, names=["a"])
        assert point(x=1) == Point(x=1)
        assert type(point(x=1)) is Point
        assert one(only="a") == One(only="a")
        assert hiding(shown=1).secret == "canary"
        assert moving(at=Point(x=1), name="n") == Moving(at=Point(x=1), name="n")
    first, second = moving(at=Point(x=1)), moving(at=Point(x=1))
    assert first.told == [] and first.told is not second.told


def test_who_makes_quickly_is_told_what_is_missing_unknown_or_wrong() -> None:
    point, checked = quick(Point), quick(Checked)
    for _ in range(2):
        with pytest.raises(TypeError, match="'x'"):
            point()
        with pytest.raises(TypeError, match="'z'"):
            point(x=1, z=2)
        with pytest.raises(TypeError):
            point(1)
        with pytest.raises(ValueError, match="not negative"):
            checked(size=-1)
    assert checked(size=1) == Checked(size=1)
