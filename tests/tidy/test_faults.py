"""``tests/faults.md`` and the markers ``fault("ID")`` tell the same story."""

from __future__ import annotations

import ast
import re
from collections import defaultdict

from tests.tidy.sources import ROOT, suite

TABLE = ROOT / "tests" / "faults.md"
#: | C5 | what goes wrong, and what happens instead | tests/unit/…, tests/… |
ROW = re.compile(r"^\| ([A-Z]+\d+) \| ([^|]+) \| ([^|]+) \|$", re.MULTILINE)


def _marked() -> dict[str, set[str]]:
    """Map each marked id to the files whose tests prove it."""
    marked: dict[str, set[str]] = defaultdict(set)
    for source in suite():
        for node in ast.walk(source.tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.fault":
                for argument in node.args:
                    assert isinstance(argument, ast.Constant), f"{source.name}:{node.lineno}"
                    marked[str(argument.value)].add(source.name)
    return dict(marked)


def _listed() -> dict[str, set[str]]:
    rows = ROW.findall(TABLE.read_text(encoding="utf-8"))
    assert len(rows) == len({row[0] for row in rows}), "an id is listed twice"
    return {row[0]: {name.strip("` ") for name in row[2].split(",")} for row in rows}


def test_every_proven_fault_is_listed_with_where_it_is_proven() -> None:
    assert _listed() == _marked()
