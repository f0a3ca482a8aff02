"""The client's tests on every Python from 3.8 on that this machine has."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
CHECKOUT = HERE.parents[2]
#: Those that need pytest, mypy or uvloop, which other interpreters may not have.
ONLY_HERE = {"test_interpreters", "test_typing", "test_uvloop"}
OLDEST, NEWEST = (3, 8), (3, 13)


def candidates() -> list[Path]:
    """List what may be an interpreter: on the path, and pyenv's."""
    names = [f"python3.{minor}" for minor in range(OLDEST[1], NEWEST[1] + 1)]
    found = [Path(path) for path in map(shutil.which, names) if path]
    pyenv = shutil.which("pyenv")
    roots = [Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))]
    if pyenv:
        told = subprocess.run([pyenv, "root"], capture_output=True, text=True, check=False)
        roots += [Path(told.stdout.strip())] if told.returncode == 0 else []
    for root in roots:
        found += sorted(root.glob("versions/*/bin/python"))
    return found


def version_of(python: Path) -> tuple[int, int] | None:
    """Ask an interpreter for its version; None if it is none (pyenv's shims may be empty)."""
    try:
        told = subprocess.run(
            [python, "-c", "import sys; print(*sys.version_info[:2])"],
            capture_output=True,
            text=True,
            check=False,
            timeout=20,
        )
    except OSError:
        return None
    numbers = told.stdout.split()
    if told.returncode != 0 or len(numbers) != 2:
        return None
    return int(numbers[0]), int(numbers[1])


def interpreters() -> dict[str, Path]:
    """Find one interpreter per version, besides the one that runs this."""
    found: dict[tuple[int, int], Path] = {}
    for python in candidates():
        version = version_of(python)
        if version is not None and OLDEST <= version <= NEWEST:
            found.setdefault(version, python)
    found.pop(sys.version_info[:2], None)
    return {f"{major}.{minor}": found[major, minor] for major, minor in sorted(found)}


def started(python: Path, output: Path) -> subprocess.Popen[bytes]:
    modules = sorted(
        f"tests.unit.client.{path.stem}"
        for path in HERE.glob("test_*.py")
        if path.stem not in ONLY_HERE
    )
    with output.open("wb") as file:
        return subprocess.Popen(
            [python, "-W", "error", "-m", "unittest", *modules],
            cwd=CHECKOUT,
            env={
                "PATH": os.environ["PATH"],
                "PYTHONPATH": str(CHECKOUT / "client_lib"),
                "PYTHONDONTWRITEBYTECODE": "1",
            },
            stdout=subprocess.DEVNULL,
            stderr=file,
        )


@pytest.mark.timeout(240)
def test_the_clients_tests_pass_on_every_other_python_found(tmp_path: Path) -> None:
    others = interpreters()
    if not others:
        pytest.skip("LEFT OUT: no other Python from 3.8 to 3.13 on this machine; pyenv has them")
    print("besides {}.{}: Python".format(*sys.version_info[:2]), ", ".join(others))
    # At once: most of their time they wait.
    running = {version: started(others[version], tmp_path / version) for version in others}
    failed = ""
    for version, process in running.items():
        try:
            code = process.wait(timeout=220)
        except subprocess.TimeoutExpired:
            process.kill()
            code = process.wait()
        said = (tmp_path / version).read_text()
        if code != 0 or not re.search(r"^Ran [1-9]\d* tests", said, re.MULTILINE):
            failed += f"\nPython {version} ({others[version]}):\n{said[-6000:]}"
    assert not failed, failed
