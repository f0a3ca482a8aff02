"""How large a regular expression becomes when its counted repeats are written out. Pure.

``((a{1000}){1000}){1000}`` is 23 characters and fills any memory when it is compiled; a time
limit on matching comes too late for that.
"""

from __future__ import annotations

import re
from typing import Final

MAX_SIZE: Final = 20_000

_COUNTED = re.compile(r"\{(\d{0,9})(?:,(\d{0,9}))?\}")
_CLASS = re.compile(r"\[\^?\]?(?:\\.|[^\]\\])*\]", re.DOTALL)


def pattern_size(pattern: str) -> int:
    """Give the number of atoms, repeats multiplied out; a rough upper bound, never below."""
    groups = [0]
    atom = 0
    place = 0
    while place < len(pattern):
        sign = pattern[place]
        counted = _COUNTED.match(pattern, place)
        if counted is not None and (counted[1] or counted[2]):
            times = max(int(counted[1] or 0), int(counted[2] or 0), 1)
            groups[-1] += atom * (times - 1)
            atom *= times
            place = counted.end()
            continue
        if sign == "(":
            groups.append(0)
            atom = 0
            place += 1
            continue
        if sign == ")" and len(groups) > 1:
            atom = groups.pop()
            place += 1
        else:
            one_class = _CLASS.match(pattern, place) if sign == "[" else None
            atom = 1
            place = one_class.end() if one_class else place + (2 if sign == "\\" else 1)
        groups[-1] += atom
    return sum(groups)
