"""The systemd units: as systemd's own tools see them, and laid down by ``sutlerd install``."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from sutlerd.commands.install import own_command, unit_text
from sutlerd.config.loader import load
from sutlerd.config.presets import PRESETS
from tests.integration.node.test_check import sutlerd

UNITS = Path(__file__).parents[3] / "systemd"
#: Tenths of systemd's scale from 0 to 10.
EXPOSURE_LIMIT = 15


def _tool() -> str:
    found = shutil.which("systemd-analyze")
    if found is None:
        pytest.skip("LEFT OUT: systemd-analyze is not installed (Debian: systemd)")
    return found


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A tree with the units of a node's daemon."""
    done = sutlerd("install", "--system", f"--root={tmp_path}")
    assert done.returncode == 0, done.stderr
    return tmp_path / "etc/systemd/system"


def test_systemd_finds_nothing_wrong_with_the_units(installed: Path, tmp_path: Path) -> None:
    tool = _tool()
    sutlerd("install", "--user", f"--root={tmp_path}", XDG_CONFIG_HOME="/home")
    for folder, manager in ((installed, "--system"), (tmp_path / "home/systemd/user", "--user")):
        names = [str(folder / name) for name in ("sutlerd.service", "sutlerd.socket")]
        done = subprocess.run(
            [tool, manager, "verify", "--man=no", *names],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)},
        )
        assert (done.returncode, done.stderr) == (0, "")


def test_the_service_is_exposed_to_little_and_what_is_off_has_its_reason(installed: Path) -> None:
    service = installed / "sutlerd.service"
    command = [_tool(), "security", "--offline=true", "--no-pager", f"--threshold={EXPOSURE_LIMIT}"]
    done = subprocess.run([*command, str(service)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    comments = " ".join(line for line in service.read_text().splitlines() if line[:1] == "#")
    for line in done.stdout.splitlines():
        if line.startswith("✗"):
            for directive in re.findall(r"(\w+)=", line.split()[1]):
                assert directive in comments, f"{directive} is off, and no comment says why"


def test_the_service_is_handed_the_key_of_every_provider_there_is() -> None:
    text = (UNITS / "sutlerd.service").read_text()
    keys = {preset.key_env for preset in PRESETS.values() if preset.key_env}
    assert set(re.findall(r"^LoadCredential=(\w+)$", text, re.MULTILINE)) == keys


def test_the_annotated_configuration_loads_as_it_is_and_with_every_example(tmp_path: Path) -> None:
    path = tmp_path / "sutler.yaml"
    text = (UNITS / "sutler.yaml").read_text()
    path.write_text(text)
    assert list(load(path, {}).config.llm.providers) == ["embedded"]
    # Words begin after one blank; settings after none, or after two.
    examples = re.sub(r"^#(?! \S)", "", text, flags=re.MULTILINE)
    path.write_text(examples)
    config = load(path, {}).config
    assert list(config.llm.providers) == ["anthropic", "openai", "local"]
    assert config.llm.budget.enabled
    assert config.access.groups == ("root",)


def test_what_is_installed_is_said_done_once_and_taken_away_again(tmp_path: Path) -> None:
    def run(*words: str) -> list[str]:
        done = sutlerd(*words, "--system", f"--root={tmp_path}")
        assert done.returncode == 0, done.stderr
        return [line for line in done.stdout.splitlines() if str(tmp_path) in line]

    assert all(line.startswith("would be written") for line in run("install", "--dry-run"))
    assert list(tmp_path.iterdir()) == []
    said = run("install")
    assert len(said) == 5
    assert all(line.startswith("written") for line in said)
    service = tmp_path / "etc/systemd/system/sutlerd.service"
    assert service.read_text() == unit_text("sutlerd.service", own_command())
    assert "@SUTLERD@" not in service.read_text()
    assert service.stat().st_mode & 0o777 == 0o644
    assert all(line.startswith("same") for line in run("install"))
    configuration = tmp_path / "etc/sutler/sutler.yaml"
    configuration.write_text("llm: {max_retries: 7}\n")
    service.write_text("# mine\n")
    said = run("install")
    assert f"kept     {configuration}: it is yours" in said
    assert service.with_name("sutlerd.service.before").read_text() == "# mine\n"
    service.write_text("# mine again\n")
    said = run("uninstall")
    assert service.read_text() == "# mine again\n"
    assert sum(line.startswith("removed") for line in said) == 3
    assert configuration.exists()


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "etc").write_text("a file\n")
    done = sutlerd("install", "--system", f"--root={tmp_path}")
    assert done.returncode == 73
    assert str(tmp_path / "etc") in done.stderr
