from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.cli.tiny_daemon import TinyDaemon


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[TinyDaemon]:
    """A daemon at ``tmp_path / "s"`` that every command started by the test finds."""
    with pytest.MonkeyPatch.context() as patch, TinyDaemon(tmp_path / "s") as tiny:
        patch.setenv("SUTLER_SOCKET", str(tiny.path))
        yield tiny
