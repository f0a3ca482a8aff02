"""The metrics as a file, for node_exporter."""

from __future__ import annotations

import stat
import time
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from tests.integration.faults.rig import serving


def _monitoring(path: Path) -> dict[str, Any]:
    return {"monitoring": {"prometheus": {"enabled": True, "textfile": str(path)}}}


def test_a_whole_file_that_others_may_read_is_written_from_the_start(folder: Path) -> None:
    path = folder / "sutler.prom"
    with serving(folder / "d", llm=_monitoring(path)):
        until_s = time.monotonic() + 30
        while not path.exists() and time.monotonic() < until_s:
            time.sleep(0.02)
        names = {family.name for family in text_string_to_metric_families(path.read_text())}
        assert {"llm_requests", "sutler_build_info"} <= names
        assert stat.S_IMODE(path.stat().st_mode) == 0o644
        assert [each.name for each in folder.glob(".sutler.prom*")] == []


def test_a_folder_that_is_not_there_is_told_once_and_harms_nothing(folder: Path) -> None:
    with serving(folder / "d", llm=_monitoring(folder / "none" / "sutler.prom")) as rig:
        until_s = time.monotonic() + 30
        while "textfile" not in rig.daemon.log() and time.monotonic() < until_s:
            time.sleep(0.02)
        assert "cannot write" in rig.daemon.log()
        assert rig.daemon.result("chat", prompt="x")["content"]
