"""``make demo``, twice: what a newcomer sees first."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

DEMO = Path(__file__).resolve().parents[1] / "examples" / "demo.py"
RANKS = 8


def _run(folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, DEMO, folder], capture_output=True, text=True, timeout=150, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _reached(said: str) -> tuple[int, int]:
    """Read how many calls there were and how many of them reached the model."""
    found = re.search(rf"(\d+) calls by {RANKS} ranks: (\d+) reached the model", said)
    assert found, said
    return int(found[1]), int(found[2])


@pytest.mark.timeout(200)
def test_the_ranks_share_one_model_and_a_second_run_needs_it_no_more(tmp_path: Path) -> None:
    first = _run(tmp_path / "kept")
    calls, reached = _reached(first)
    # Three shared questions and one shared text, and two questions of each rank's own.
    assert (calls, reached) == (6 * RANKS, 4 + 2 * RANKS)
    assert all(f"rank {rank}\n" in first for rank in range(RANKS))
    assert "stopped cleanly" in first
    assert "persistent cache" not in first

    second = _run(tmp_path / "kept")
    assert _reached(second) == (calls, 0)
    assert second.count("(streamed, 1 piece)") == RANKS
    assert "20 of the 20 different questions were answered from the persistent cache" in " ".join(
        second.split()
    )
