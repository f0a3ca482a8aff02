"""Small real child processes for the tests of supervision."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Any

from sutlerd.system.children import ChildSpec, python_environment

#: Says that it is ready and ends when its standard input does.
WELL = "print('ready', flush=True); sys.stdin.read()"


def python(script: str, settings: bytes = b"{}", *, keep: bool = True) -> ChildSpec:
    """Run ``script`` with its settings read already, in ``settings``."""
    start = "import os, sys, time; settings = sys.stdin.readline(); "
    return ChildSpec(
        argv=(sys.executable, "-S", "-c", start + script),
        environment=python_environment(os.environ),
        settings=settings,
        may_keep=lambda line: keep,
    )


class Scripted:
    """A charge whose n-th life runs the n-th script, and the last one from then on."""

    def __init__(self, *scripts: str) -> None:
        self.scripts = scripts
        self.started = 0
        self.left: list[str] = []
        self.answers = True

    def spec(self) -> ChildSpec:
        script = self.scripts[min(self.started, len(self.scripts) - 1)]
        self.started += 1
        return python(script)

    async def welcome(self, first_line: bytes) -> str:
        return f"life {self.started}: {first_line.decode().strip()}"

    async def check(self, life: str) -> bool:
        return self.answers

    async def farewell(self, life: str) -> None:
        self.left.append(life)


class Notices:
    """What a supervisor told, in order."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str, Mapping[str, Any]]] = []

    def tells(self, level: str) -> bool:
        return True

    def event(self, level: str, name: str, /, **fields: object) -> None:
        self.told.append((level, name, fields))

    def names(self) -> list[str]:
        return [name for _, name, _ in self.told]
