"""Turn what the daemon says about itself into aligned text for a person. Pure.

Nothing here knows the fields of a particular answer: a value's unit is the end of its
name, as everywhere on the wire (``uptime_s``, ``size_bytes``, ``cost_nanousd``), and a
shape decides the form: a list of objects is a table, an object of objects too.
"""

from __future__ import annotations

import time

from sutler.cli_terminal import visible

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, Optional, Sequence, Tuple

_NANO = 1000000000

#: Numbers that count nothing.
_IDENTITIES = frozenset(("uid", "gid", "pid", "job", "port", "protocol"))


def duration(span_s: float) -> str:
    """Give a time span as 0.25 s, 42 s, 3:05, 2:10:00 or 3 d 4 h."""
    if span_s < 10:
        return "%.3g s" % span_s
    whole_s = round(span_s)
    if whole_s < 60:
        return "%d s" % whole_s
    minutes, left_s = divmod(whole_s, 60)
    hours, minutes = divmod(minutes, 60)
    if hours >= 48:
        return "%d d %d h" % divmod(hours, 24)
    if hours:
        return "%d:%02d:%02d" % (hours, minutes, left_s)
    return "%d:%02d" % (minutes, left_s)


def size(count_bytes: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(count_bytes) < 1024:
            return "%.4g %s" % (count_bytes, unit)
        count_bytes /= 1024
    return "%.4g TiB" % count_bytes


def dollars(nanousd: float) -> str:
    """Give money without hiding small sums: $0, $0.000012, $1.50."""
    amount = nanousd / _NANO
    if amount == 0:
        return "$0"
    if abs(amount) >= 0.1:
        return "$%.2f" % amount
    return "$" + ("%.9f" % amount).rstrip("0")


def cell(name: str, value: Any) -> str:
    """Give one value as text, by the unit that its ``name`` ends with."""
    if value is None:
        return "-"
    if value is True or value is False:
        return "yes" if value else "no"
    if isinstance(value, (int, float)):
        if name == "unix_s" or name.endswith(("_unix_s", "_at")):
            return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(value))
        if name.endswith("nanousd"):
            return dollars(value)
        if name.endswith("_bytes"):
            return size(value)
        if name.endswith("_ms"):
            return "%.4g ms" % value
        if name.endswith("_s"):
            return duration(value)
        if name in _IDENTITIES:
            return str(value)
        return "{:,}".format(value) if isinstance(value, int) else "%.4g" % value
    if isinstance(value, (list, tuple)):
        return ", ".join(cell(name, item) for item in value) or "-"
    if isinstance(value, dict):
        return ", ".join(_member(key, item) for key, item in value.items() if _says(item)) or "-"
    return visible(str(value)).replace("\n", " ")


def _says(item: Any) -> bool:
    return item is not None and item is not False


def _member(name: str, item: Any) -> str:
    """Name what is true, and give everything else with its value."""
    return heading(name) if item is True else "%s %s" % (heading(name), cell(name, item))


def heading(name: str) -> str:
    """Give a name without the unit that its values spell out."""
    if name == "unix_s":
        return "when"
    for unit in ("_unix_s", "_nanousd", "_bytes", "_ms", "_s"):
        if name.endswith(unit) and len(name) > len(unit):
            name = name[: -len(unit)]
            break
    return name.replace("_", " ")


def table(rows: Sequence[Dict[str, Any]], columns: Optional[Sequence[str]] = None) -> List[str]:
    """Align ``rows`` under a line of headings; columns are in the order they first appear.

    A column in which no row has anything to say is left out. Numbers stand to the right.
    """
    names = list(columns) if columns is not None else _columns(rows)
    names = [name for name in names if any(row.get(name) is not None for row in rows)]
    lines = [[heading(name) for name in names]]
    lines += [[cell(name, row.get(name)) for name in names] for row in rows]
    right = [
        all(_is_number(row.get(name)) for row in rows if row.get(name) is not None)
        for name in names
    ]
    widths = [max(len(line[at]) for line in lines) for at in range(len(names))]
    return [
        "  ".join(
            text.rjust(width) if to_right else text.ljust(width)
            for text, width, to_right in zip(line, widths, right)
        ).rstrip()
        for line in lines
    ]


def pairs(values: Dict[str, Any]) -> List[str]:
    """Align names and values of one object, a line each."""
    width = max([len(heading(name)) for name in values] or [0])
    return ["%s  %s" % (heading(name).ljust(width), cell(name, values[name])) for name in values]


def sections(value: Dict[str, Any]) -> List[Tuple[str, List[str]]]:
    """Lay a whole answer out: its plain values first, untitled, then a titled part a group."""
    plain = {name: item for name, item in value.items() if not _is_group(item)}
    parts = [("", pairs(plain))] if plain else []
    for name, item in value.items():
        if _is_group(item):
            parts.append((heading(name), _group(item)))
    return parts


def _group(item: Any) -> List[str]:
    if isinstance(item, list):
        return table(item) if item else ["none"]
    if not item:
        return ["none"]
    if all(isinstance(entry, dict) for entry in item.values()):
        rows = []
        for name, entry in item.items():
            row = {"name": name}
            row.update(entry)
            rows.append(row)
        return table(rows)
    return pairs(item)


def _is_group(item: Any) -> bool:
    if isinstance(item, dict):
        return True
    return isinstance(item, list) and bool(item) and all(isinstance(row, dict) for row in item)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _columns(rows: Sequence[Dict[str, Any]]) -> List[str]:
    names: Dict[str, None] = {}
    for row in rows:
        for name in row:
            names.setdefault(name)
    return list(names)
