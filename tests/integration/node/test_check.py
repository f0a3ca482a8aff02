"""``sutlerd check`` and ``sutlerd config show``, as an operator runs them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemon_process import DaemonProcess

CONFIG = """\
llm:
  default_provider: lab
  providers:
    lab:
      kind: openai_compatible
      base_url: http://127.0.0.1:9/v1
      api_key: ${LAB_KEY}
      default_model: gpt-4o
      models: [gpt-4o, homemade]
    deepseek: {}
  budget: {daily_limit_usd: 5}
"""


def sutlerd(*words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sutlerd", *words],
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )


def options(folder: Path, config: str = CONFIG) -> list[str]:
    (folder / "run").mkdir(mode=0o700, exist_ok=True)
    (folder / "sutler.yaml").write_text(config)
    places = ("socket", "run/s.sock"), ("state-dir", "state"), ("cache-dir", "cache")
    return [f"--config={folder / 'sutler.yaml'}", *(f"--{n}={folder / p}" for n, p in places)]


def checked(folder: Path, config: str = CONFIG, **environ: str) -> tuple[int, dict[str, Any]]:
    done = sutlerd("check", "--json", *options(folder, config), **environ)
    assert done.stderr == ""
    findings: dict[str, Any] = {}
    for finding in json.loads(done.stdout)["findings"]:
        findings.setdefault(finding["what"], []).append(finding)
    return done.returncode, findings


def test_what_is_wrong_is_told_with_its_mend_and_what_is_fine_too(tmp_path: Path) -> None:
    code, found = checked(tmp_path, LAB_KEY="sk-lab-0123456789")
    assert code == 78
    assert [f["said"] for f in found["provider lab"]] == [
        "http://127.0.0.1:9/v1, key from $LAB_KEY"
    ]
    (deepseek,) = found["provider deepseek"]
    assert deepseek["level"] == "warning"
    assert "DEEPSEEK_API_KEY" in deepseek["said"]
    (prices,) = found["prices"]
    assert prices["level"] == "error"
    assert "lab/homemade" in prices["said"]
    assert prices["mend"].startswith("llm.prices: {lab/")
    assert found["tokenizers"][0]["said"] == "o200k_base is on this machine"
    assert "on " in found["state folder"][0]["said"]
    assert found["socket"][-1]["said"].endswith("free")
    assert found["systemd"]
    assert "sk-lab" not in json.dumps(found)


def test_a_configuration_that_does_not_load_is_told_problem_by_problem(tmp_path: Path) -> None:
    code, found = checked(tmp_path, "llm: {max_retrys: 3}\ndaemon: {drain_s: -1}\n")
    assert code == 78
    said = [finding["said"] for finding in found["configuration"]]
    assert len(said) == 2
    assert "did you mean 'max_retries'?" in said[0]
    assert ":2: daemon.drain_s" in said[1]


def test_with_everything_in_order_the_exit_code_is_0_and_people_can_read_it(
    tmp_path: Path,
) -> None:
    key = tmp_path / "key"
    key.write_text("sk-in-a-file-0123")
    key.chmod(0o644)
    config = CONFIG.replace("${LAB_KEY}", f"file:{key}").replace(", homemade", "")
    for line in ("    deepseek: {}\n", "  budget: {daily_limit_usd: 5}\n"):
        config = config.replace(line, "")
    with DaemonProcess(tmp_path, config=config) as daemon:
        done = sutlerd("check", *daemon.command()[3:])
    assert done.returncode == 0, done.stdout
    assert "a daemon answers there" in done.stdout
    assert f"mend: chmod o= {key}" in done.stdout
    assert done.stdout.splitlines()[-1].endswith("0 that stop a start or a call")


def test_the_configuration_is_shown_masked_each_value_with_where_it_came_from(
    tmp_path: Path,
) -> None:
    given = options(tmp_path)
    done = sutlerd("config", "show", *given, "--log-level=debug", LAB_KEY="sk-lab-0123456789")
    lines = dict(line.split(" = ", 1) for line in done.stdout.splitlines())
    path = tmp_path / "sutler.yaml"
    assert lines["llm.providers.lab.api_key"] == '"***"  ($LAB_KEY)'
    assert lines["llm.default_provider"] == f'"lab"  ({path}:2)'
    assert lines["daemon.log_level"] == '"debug"  (command line)'
    assert lines["llm.max_retries"] == "3  (default)"
    assert lines["llm.providers.deepseek.base_url"].endswith("(preset deepseek)")
    assert "sk-lab" not in done.stdout
    tree = json.loads(sutlerd("--log-level=debug", "config", "show", "--json", *given).stdout)
    assert tree["daemon"]["log_level"] == {"value": "debug", "origin": "command line"}


@pytest.mark.parametrize("command", [["check", "--jsn"], ["config"], ["sho"]])
def test_a_wrong_command_line_is_told(command: list[str]) -> None:
    done = sutlerd(*command)
    assert done.returncode == 2
    assert "sutlerd" in done.stderr
