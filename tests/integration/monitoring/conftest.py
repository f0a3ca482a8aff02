"""Short folders for sockets, and one daemon for tests that leave no trace."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.faults.rig import Rig
from tests.integration.http.rig import http_rig


def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="sh-") as path:
        yield Path(path)


folder = pytest.fixture(_folder, name="folder")
module_folder = pytest.fixture(_folder, scope="module", name="module_folder")


@pytest.fixture(scope="module")
def rig(module_folder: Path) -> Iterator[Rig]:
    with http_rig(module_folder) as running:
        yield running
