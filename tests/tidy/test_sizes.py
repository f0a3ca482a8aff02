"""What rots is the one file that everything funnels into: this stops it growing."""

from __future__ import annotations

import ast

from tests.tidy.sources import everything

MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 60


def test_no_file_is_too_long_to_read() -> None:
    sizes = {source.name: source.text.count("\n") for source in everything()}
    assert {name: size for name, size in sizes.items() if size > MAX_FILE_LINES} == {}


def test_no_function_is_too_long_to_read() -> None:
    too_long = []
    for source in everything():
        for node in ast.walk(source.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > MAX_FUNCTION_LINES:
                    too_long.append(f"{source.name}:{node.lineno} {node.name}: {lines} lines")
    assert too_long == []
