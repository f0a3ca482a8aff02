"""The command works on every Python that the client promises, as far as they are here."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.cli.command import CLIENT, sutler
from tests.integration.cli.tiny_daemon import TinyDaemon

OLDEST, NEWEST = 8, 13


def interpreters() -> dict[str, str]:
    """Find one interpreter for each version from 3.8 to 3.13: version → its path."""
    found: dict[str, str] = {}
    versions = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    for minor in range(OLDEST, NEWEST + 1):
        name = f"3.{minor}"
        installed = sorted(versions.glob(f"{name}.*/bin/python"))
        path = str(installed[-1]) if installed else shutil.which(f"python{name}")
        if path is not None:
            found[name] = path
    return found


FOUND = interpreters()


@pytest.mark.parametrize("version", FOUND)
def test_the_command_works_on_this_python(daemon: TinyDaemon, tmp_path: Path, version: str) -> None:
    python = FOUND[version]
    source, target = tmp_path / "in", tmp_path / "out"
    source.write_text('"a"\n"refuse"\n{"prompt": "b"}\n')
    assert sutler("chat", "hi", python=python).stdout == b"HI\n"
    assert sutler("map", str(source), str(target), python=python).returncode == 1
    rows = [json.loads(line) for line in target.read_text().splitlines()]
    assert ["result" in row for row in rows] == [True, False, True]
    assert sutler("embed", "a", "b", "--json", python=python).returncode == 0
    assert b"queue\n" in sutler("status", python=python).stdout
    assert b'"result"' in sutler("raw", stdin=b'{"method":"ping"}', python=python).stdout
    done = sutler("--help", python=python)
    assert (done.returncode, done.stderr) == (0, b"")
    assert sutler("caht", python=python).returncode == 2


def test_no_newer_feature_than_the_oldest_python_has_is_used() -> None:
    vermin = shutil.which("vermin") or str(Path(sys.executable).parent / "vermin")
    parts = ("cli*.py", "top_*.py", "relay*.py")
    sources = sorted(str(path) for part in parts for path in (CLIENT / "sutler").glob(part))
    done = subprocess.run(
        [vermin, "-t=3.8-", "--violations", "--no-tips", "--eval-annotations", *sources],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
