"""The example program: four components as four processes on one daemon and one model."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from tests.support.daemon_process import DaemonProcess

PROGRAM = Path(__file__).resolve().parents[2] / "examples" / "cognition.py"
COMPONENTS = ("memory", "metacognition", "planner", "safety")
#: What a model, or a way to one elsewhere, would need.
FOR_MODELS = ("xllamacpp", "aiohttp", "openai", "anthropic")


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="sc-") as path:
        yield Path(path)


def run(
    daemon: DaemonProcess, *, prefix: Sequence[str] = (), environ: Mapping[str, str] = os.environ
) -> tuple[bytes, dict[str, int]]:
    """Give what it prints, and how many calls each component made by then."""
    done = subprocess.run(
        [*prefix, sys.executable, PROGRAM],
        env={**environ, "SUTLER_SOCKET": str(daemon.socket)},
        capture_output=True,
        timeout=150,
        check=False,
    )
    told = done.stderr.decode()
    assert done.returncode == 0, done.stdout.decode() + told
    calls = {name: int(count) for name, count in re.findall(r"(\w+): (\d+) calls", told)}
    return done.stdout, calls


def without_models(folder: Path) -> dict[str, str]:
    """Give an environment in which no model can be started, and no provider be asked."""
    hiding = folder / "hiding"
    hiding.mkdir()
    for name in FOR_MODELS:
        (hiding / f"{name}.py").write_text(f"raise ImportError('{name} is off')\n")
    environ = {**os.environ, "PYTHONPATH": str(hiding)}
    for name in FOR_MODELS:
        tried = subprocess.run(
            [sys.executable, "-c", f"import {name}"],
            env=environ,
            stderr=subprocess.PIPE,
            check=False,
        )
        assert f"{name} is off".encode() in tried.stderr
    return environ


def without_network() -> list[str]:
    """Give the command that runs another with no network, not even loopback; nothing where
    that may not be done: then the missing packages must do."""
    unshare = [shutil.which("unshare") or "unshare", "--net"]
    try:
        subprocess.run([*unshare, "true"], check=True, stderr=subprocess.DEVNULL)
    except (OSError, subprocess.CalledProcessError):
        return []
    return unshare


@pytest.mark.timeout(320)
def test_four_components_work_a_goal_through_again_from_the_cache_and_replayed(
    folder: Path,
) -> None:
    tape = folder / "run.jsonl"
    with DaemonProcess(
        folder / "r", config="embedded: {threads: 1}\n", arguments=[f"--record={tape}"]
    ) as daemon:
        first, calls = run(daemon)
        judge(first.decode(), calls)

        before = daemon.result("status")["answers"]
        again, twice = run(daemon)
        after = daemon.result("status")["answers"]
        assert again == first
        assert twice == {name: 2 * count for name, count in calls.items()}
        assert after["fresh"] == before["fresh"], "the second run asked the model"
        assert daemon.stop() == 0

    offline, environ = without_network(), without_models(folder)
    with DaemonProcess(
        folder / "p", arguments=[f"--replay={tape}"], environ=environ, prefix=offline
    ) as replaying:
        replayed, counted = run(replaying, prefix=offline, environ=environ)
        assert replayed == first, "byte for byte"
        assert counted == calls
        assert replaying.ask("chat", prompt="unheard of")["error"]["data"]["type"] == "cache_miss"
        assert replaying.stop() == 0
        assert "child" not in replaying.log(), "no model was started"


def judge(printed: str, calls: Mapping[str, int]) -> None:
    assert printed.startswith("goal: Dry the flooded cellar\n")
    assert re.search(
        r"^reviewer: (ACCEPT|REVISE|REJECT), confidence [\d.]+$", printed, re.MULTILINE
    )
    verdicts = re.findall(r"^gate: (ALLOW|DENY|ESCALATE): ", printed, re.MULTILINE)
    assert 1 <= len(verdicts) <= 3
    assert printed.splitlines()[-1].startswith("memory: ")
    assert sorted(calls) == list(COMPONENTS)
    assert calls["safety"] == len(verdicts)
