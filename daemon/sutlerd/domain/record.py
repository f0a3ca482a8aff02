"""``record``: a frozen dataclass to whoever reads or checks the code, a quick one to the machine.

``frozen=True`` makes each field's assignment in ``__init__`` a call of its own; with a dozen
fields and a dozen records a call that was a tenth of the daemon's own time. Here the type
checker forbids assignment, and at run time a record is plain. Equality and hash are by value.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(field,))
def record(cls: type[T]) -> type[T]:
    """Make a dataclass with slots, keyword-only fields, equality and hash by value."""
    return dataclass(slots=True, kw_only=True, unsafe_hash=True)(cls)
