"""The example program: four components as four processes on one daemon and one model."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.daemon_process import DaemonProcess

PROGRAM = Path(__file__).resolve().parents[2] / "examples" / "cognition.py"
COMPONENTS = ("memory", "metacognition", "planner", "safety")


def run(daemon: DaemonProcess) -> tuple[str, dict[str, int]]:
    """Give what it prints, and how many calls each component made by then."""
    done = subprocess.run(
        [sys.executable, PROGRAM],
        env={**os.environ, "SUTLER_SOCKET": str(daemon.socket)},
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    calls = {name: int(count) for name, count in re.findall(r"(\w+): (\d+) calls", done.stderr)}
    return done.stdout, calls


@pytest.mark.timeout(320)
def test_four_components_work_a_goal_through_and_again_from_the_cache(
    daemon: DaemonProcess,
) -> None:
    first, calls = run(daemon)
    assert first.startswith("goal: Dry the flooded cellar\n")
    assert re.search(r"^reviewer: (ACCEPT|REVISE|REJECT), confidence [\d.]+$", first, re.MULTILINE)
    verdicts = re.findall(r"^gate: (ALLOW|DENY|ESCALATE): ", first, re.MULTILINE)
    assert 1 <= len(verdicts) <= 3
    assert first.splitlines()[-1].startswith("memory: ")
    assert sorted(calls) == list(COMPONENTS)
    assert calls["safety"] == len(verdicts)

    before = daemon.result("status")["answers"]
    again, twice = run(daemon)
    after = daemon.result("status")["answers"]
    assert again == first
    assert twice == {name: 2 * count for name, count in calls.items()}
    assert after["fresh"] == before["fresh"], "the second run asked the model"
