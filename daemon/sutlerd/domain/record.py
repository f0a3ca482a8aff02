"""``record``: a frozen dataclass to whoever reads or checks the code, a quick one to the machine.

``frozen=True`` makes each field's assignment in ``__init__`` a call of its own; with a dozen
fields and a dozen records a call that was a tenth of the daemon's own time. Here the type
checker forbids assignment, and at run time a record is plain. Equality and hash are by value.

Making a dataclass compiles four functions, more than half a millisecond, and the daemon has two
hundred of them: a quarter of its start. So ``__init__`` is compiled when the first instance is
made, which for most is after the start or never, and the other three are shared by all.

The interpreter calls a class by way of a dictionary of the keywords, which costs more than all
the fields. What is made for every call is made by ``quick``, which needs none.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, dataclass, field, fields
from operator import attrgetter
from types import FunctionType
from typing import Any, ParamSpec, TypeVar, dataclass_transform

T = TypeVar("T")
P = ParamSpec("P")


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(field,))
def record(cls: type[T]) -> type[T]:
    """Make a dataclass with slots, keyword-only fields, equality and hash by value."""
    if cls.__doc__ is None:
        cls.__doc__ = cls.__name__  # or it would be made of a signature, slowly
    made: Any = dataclass(init=False, repr=False, eq=False, slots=True, kw_only=True)(cls)
    names = tuple(each.name for each in fields(made) if each.compare)
    # What is hidden on purpose, secrets first of all, stays hidden.
    visible = tuple(each.name for each in fields(made) if each.repr)
    # Of one name it gives the value itself, of more a tuple: either compares and hashes.
    values = attrgetter(*names) if names else type

    def __init__(self: Any, **given: Any) -> None:
        made.__init__ = _compiled_init(made)
        made.__init__(self, **given)

    def __eq__(self: Any, other: object) -> bool:
        if self is other:
            return True
        if other.__class__ is not self.__class__:
            return NotImplemented
        return bool(values(self) == values(other))

    def __hash__(self: Any) -> int:
        return hash(values(self))

    def __repr__(self: Any) -> str:
        shown = ", ".join(f"{name}={getattr(self, name)!r}" for name in visible)
        return f"{type(self).__qualname__}({shown})"

    own = vars(cls)
    for method in (__init__, __eq__, __hash__, __repr__):
        # ``__hash__`` is None where a class has its own ``__eq__``.
        if method is __init__ or own.get(method.__name__) is None:
            setattr(made, method.__name__, method)
    return made  # type: ignore[no-any-return]


def _compiled_init(made: Any) -> Any:
    """Have the standard library write ``__init__`` for these very fields."""
    space: dict[str, Any] = {"__annotations__": {}, "__doc__": ""}
    for each in fields(made):
        space["__annotations__"][each.name] = each.type
        if each.default is not MISSING:
            space[each.name] = field(default=each.default)
        elif each.default_factory is not MISSING:
            space[each.name] = field(default_factory=each.default_factory)
        else:
            space[each.name] = field()
    if hasattr(made, "__post_init__"):
        space["__post_init__"] = made.__post_init__
    pattern: Any = dataclass(kw_only=True, repr=False, eq=False)(type(made.__name__, (), space))
    pattern.__init__.__qualname__ = f"{made.__qualname__}.__init__"
    return pattern.__init__


def quick(cls: Callable[P, T]) -> Callable[P, T]:
    """Give a function that makes what ``cls``, a dataclass with slots, makes of the same
    keywords, in less than half the time. It is compiled when it is first called."""
    space: dict[str, Any] = {"_cls": cls, "_new": object.__new__, "_MISSING": MISSING}
    space["_compiled"] = _compiled_maker
    maker: Any = FunctionType(_first_time.__code__, space)
    space["_maker"] = maker
    return maker  # type: ignore[no-any-return]


def _first_time(**given: Any) -> Any:
    """What a maker is until it is called: the names are those of its own space."""
    _compiled(_cls, _maker)  # type: ignore[name-defined] # noqa: F821
    return _maker(**given)  # type: ignore[name-defined] # noqa: F821


def _compiled_maker(cls: Any, maker: Any) -> None:
    """Make of ``maker`` a function that sets the fields of ``cls`` one by one."""
    space, taken, lines = maker.__globals__, [], ["_self = _new(_cls)"]
    for each in fields(cls):
        name = parameter = each.name
        if each.default is not MISSING:
            space[f"_default_{name}"] = each.default
            parameter += f"=_default_{name}"
        elif each.default_factory is not MISSING:
            space[f"_fresh_{name}"] = each.default_factory
            parameter += "=_MISSING"
            lines.append(f"if {name} is _MISSING: {name} = _fresh_{name}()")
        taken.append(parameter)
        lines.append(f"_self.{name} = {name}")
    if hasattr(cls, "__post_init__"):
        lines.append("_self.__post_init__()")
    body = "\n    ".join([*lines, "return _self"])
    exec(f"def _written(*, {', '.join(taken)}):\n    {body}", space)
    written = space["_written"]
    maker.__code__, maker.__kwdefaults__ = written.__code__, written.__kwdefaults__
    maker.__name__ = maker.__qualname__ = cls.__qualname__
