"""``sutlerd config show``: every setting in force, secrets masked, with where it came from."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

from sutlerd.config.loader import Loaded
from sutlerd.config.show import show
from sutlerd.system.exits import Exit


def run(loaded: Loaded, *, as_json: bool) -> Exit:
    tree = show(loaded.config, loaded.origins)
    if as_json:
        text = json.dumps(tree, indent=2, ensure_ascii=False)
    else:
        text = "\n".join(_lines(tree, ""))
    sys.stdout.write(text + "\n")
    return Exit.CLEAN


def _lines(tree: Any, path: str) -> Iterator[str]:
    """Yield ``path = value  (origin)`` of each setting, in the order of the schema."""
    if isinstance(tree, dict) and set(tree) == {"value", "origin"}:
        value = json.dumps(tree["value"], ensure_ascii=False)
        yield f"{path} = {value}  ({tree['origin']})"
    elif isinstance(tree, dict):
        for name, inner in tree.items():
            yield from _lines(inner, f"{path}.{name}" if path else name)
    elif isinstance(tree, list):
        for index, inner in enumerate(tree):
            yield from _lines(inner, f"{path}[{index}]")
