"""What a user installs: both wheels in an empty environment, away from the checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ("client_lib", "daemon", "prompts", "systemd", "pyproject.toml", "README.md", "LICENSE")
#: Sources' own variables only: no PYTHONPATH, no socket of somebody else's.
PLAIN = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8"}


@dataclass(frozen=True, kw_only=True)
class Installed:
    """An environment with both distributions, and the wheels it was made from."""

    bin: Path
    site: Path
    wheels: dict[str, Path]


def _run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run(
        command, cwd=cwd, env=PLAIN, capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _build(source: Path, into: Path) -> None:
    _run(
        *(sys.executable, "-m", "build", "--wheel", "--no-isolation"),
        *("--outdir", into, source),
        cwd=into.parent,
    )


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """Build from a copy, so that nothing is left in the checkout, and install with no network.

    The dependencies are those of this environment, by a path file: its own path files, and
    with them the editable installations, are not read from there.
    """
    folder = tmp_path_factory.mktemp("wheels")
    copy, dist = folder / "copy", folder / "dist"
    copy.mkdir()
    dist.mkdir()
    leave_out = shutil.ignore_patterns("__pycache__", "*.egg-info", "build")
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, copy / name, symlinks=True, ignore=leave_out)
        else:
            shutil.copy(ROOT / name, copy / name)
    _build(copy / "client_lib", dist)
    _build(copy, dist)
    wheels = {path.name.split("-")[0]: path for path in dist.glob("*.whl")}
    assert sorted(wheels) == ["sutler", "sutlerd"]

    environment = folder / "environment"
    _run(sys.executable, "-m", "venv", "--without-pip", environment, cwd=folder)
    python = environment / "bin" / "python"
    _run(
        *(sys.executable, "-m", "pip", "--python", python, "install", "-q"),
        *("--no-deps", "--no-index", "--disable-pip-version-check", *wheels.values()),
        cwd=folder,
    )
    site = next((environment / "lib").glob("python*/site-packages"))
    (site / "dependencies.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    return Installed(bin=environment / "bin", site=site, wheels=wheels)


def _tracked(folder: str) -> set[str]:
    root = ROOT / folder
    return {str(path.relative_to(ROOT)) for path in root.rglob("*") if path.is_file()}


def test_prompts_and_units_travel_in_the_daemons_wheel(installed: Installed) -> None:
    names = set(zipfile.ZipFile(installed.wheels["sutlerd"]).namelist())
    expected = _tracked("prompts") | _tracked("systemd")
    assert expected
    assert {f"sutlerd/_data/{name}" for name in expected} <= names
    code = "from importlib.resources import files; print(files('sutlerd') / '_data' / 'prompts')"
    assert Path(_run(installed.bin / "python", "-c", code, cwd=installed.site).strip()).is_dir()


def test_the_wheels_hold_typed_packages_and_nothing_else(installed: Installed) -> None:
    for name, wheel in installed.wheels.items():
        names = zipfile.ZipFile(wheel).namelist()
        assert f"{name}/py.typed" in names
        folders = {entry.split("/")[0] for entry in names}
        assert folders == {name, f"{name}-0.1.0.dist-info"}


def test_the_clients_wheel_asks_for_no_other_package(installed: Installed) -> None:
    # What an extra brings is asked for by name, and by nobody else.
    code = (
        "from importlib.metadata import requires; "
        "print([each for each in requires('sutler') or [] if 'extra ==' not in each])"
    )
    assert _run(installed.bin / "python", "-c", code, cwd=installed.site).strip() == "[]"


@pytest.mark.timeout(120)
def test_the_installed_daemon_starts_answers_and_stops(
    installed: Installed, tmp_path: Path
) -> None:
    where = "import sutler, sutlerd; print(sutler.__file__, sutlerd.__file__)"
    for path in _run(installed.bin / "python", "-c", where, cwd=tmp_path).split():
        assert Path(path).is_relative_to(installed.site)

    socket = tmp_path / "s.sock"
    daemon = subprocess.Popen(
        [
            installed.bin / "sutlerd",
            f"--socket={socket}",
            f"--state-dir={tmp_path / 'state'}",
            f"--cache-dir={tmp_path / 'cache'}",
        ],
        cwd=tmp_path,
        env=PLAIN,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        until_s = time.monotonic() + 30
        while not socket.exists() and daemon.poll() is None and time.monotonic() < until_s:
            time.sleep(0.02)
        environment = {**PLAIN, "SUTLER_SOCKET": str(socket)}
        ping = subprocess.run(
            [installed.bin / "sutler", "ping"],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert ping.returncode == 0, ping.stdout + ping.stderr
        daemon.terminate()
        assert daemon.wait(30) == 0
    finally:
        daemon.kill()
        log = daemon.communicate()[1]
        print(log)
