"""What is wrong with values of the configuration, and the shape of whatever finds it out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from sutlerd.config.problems import Path
from sutlerd.domain.record import record

#: What a reader gives for a value with a fault.
WRONG: Final = object()


@record
class Fault:
    """``kind`` is ``missing``, ``unknown`` (no such setting), ``word`` (none of those that are
    allowed) or ``wrong``; ``said`` tells what is wrong, for the latter two."""

    path: Path
    kind: str
    said: str = ""
    value: Any = None


class Faults(ValueError):
    """Everything that is wrong with the values of one group."""

    def __init__(self, group: str, faults: list[Fault]) -> None:
        places = (
            f"{'.'.join(map(str, fault.path))}: {fault.said or fault.kind}" for fault in faults
        )
        super().__init__(f"{group}: {'; '.join(places)}")
        self.faults: Final = tuple(faults)


#: Called with a value, its place and the list that faults are added to; gives the value to keep.
Reader = Callable[[Any, Path, list[Fault]], Any]
