"""``python -m tests.tidy.faults_table``: rewrite where each fault of the table is proven.

The words stay as they are in ``tests/faults.md``; an id that is marked and has no row yet gets
one, whose words are for you to write.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from dataclasses import dataclass

from tests.tidy.sources import ROOT, suite

TABLE = ROOT / "tests" / "faults.md"
UNWRITTEN = "?"
#: | C5 | what goes wrong, and what happens instead | `tests/unit/…`, `tests/…` |
ROW = re.compile(r"^\| ([A-Z])(\d+) \| ([^|]+) \| ([^|]+) \|$", re.MULTILINE)
#: The client's tests also run where there is no pytest, and call its marker by a shorter name.
MARKERS = ("pytest.mark.fault", "fault")
KINDS = {
    "C": "Clients",
    "P": "Providers",
    "S": "Storage",
    "T": "Time",
    "R": "Resources",
    "O": "Operations",
    "X": "Security",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    words: str
    files: frozenset[str]


def marked() -> dict[str, frozenset[str]]:
    """Map each id that a test is marked with to the files whose tests prove it."""
    files: dict[str, set[str]] = defaultdict(set)
    for source in suite():
        for node in ast.walk(source.tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in MARKERS:
                for argument in node.args:
                    assert isinstance(argument, ast.Constant), f"{source.name}:{node.lineno}"
                    files[str(argument.value)].add(source.name)
    return {fault: frozenset(names) for fault, names in files.items()}


def listed() -> dict[str, Row]:
    rows: dict[str, Row] = {}
    for kind, number, words, files in ROW.findall(TABLE.read_text(encoding="utf-8")):
        assert kind + number not in rows, f"{kind}{number} is listed twice"
        names = frozenset(name.strip("` ") for name in files.split(","))
        rows[kind + number] = Row(words=words, files=names)
    return rows


def rewrite() -> None:
    text = TABLE.read_text(encoding="utf-8")
    introduction = text[: text.index("\n## ")].rstrip()
    words = {fault: row.words for fault, row in listed().items()}
    where = marked()
    parts = [introduction]
    for kind, title in KINDS.items():
        faults = sorted((each for each in where if each[0] == kind), key=lambda each: int(each[1:]))
        rows = [
            f"| {fault} | {words.get(fault, UNWRITTEN)} | "
            + ", ".join(f"`{name}`" for name in sorted(where[fault]))
            + " |"
            for fault in faults
        ]
        if rows:
            head = f"## {title}\n\n| id | what happens | proven in |\n|---|---|---|"
            parts.append("\n".join([head, *rows]))
    TABLE.write_text("\n\n".join(parts) + "\n", encoding="utf-8")


if __name__ == "__main__":
    rewrite()
