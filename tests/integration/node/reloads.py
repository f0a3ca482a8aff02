"""Changing the configuration of a daemon that runs, and telling it so."""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Callable, Mapping
from typing import Any

from tests.integration.faults.rig import Rig, llm_group

NEW_KEY = "sk-scripted-key-after-rotation"
OLD_KEY = "sk-scripted-key-of-the-test"


def rewrite(rig: Rig, change: Callable[[dict[str, Any]], None], **groups: Mapping[str, Any]) -> str:
    """Write the rig's configuration with a change, in one step as an operator should."""
    config: dict[str, Any] = {"llm": copy.deepcopy(llm_group(rig.provider.base_url)), **groups}
    change(config)
    return write(rig, json.dumps(config))


def write(rig: Rig, text: str) -> str:
    path = rig.daemon.folder / "sutler.yaml"
    fresh = path.with_suffix(".new")
    fresh.write_text(text)
    fresh.replace(path)
    return text


def reload(rig: Rig) -> dict[str, Any]:
    """Have it read again, which must succeed."""
    outcome = rig.daemon.result("reload")
    assert outcome["applied"], outcome["problems"]
    return outcome


def until(holds: Callable[[], Any], *, within_s: float = 20.0) -> Any:
    """Wait for something to become true, and give it."""
    end_s = time.monotonic() + within_s
    while not (found := holds()):
        assert time.monotonic() < end_s, "nothing happened"
        time.sleep(0.01)
    return found
