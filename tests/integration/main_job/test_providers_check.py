"""The first thing to run with real keys: every endpoint tried, each with a verdict."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.contract.answers import openai_error
from tests.contract.scripted import ScriptedProvider
from tests.integration.main_job.conftest import StartDaemon
from tests.support.daemon_process import DaemonProcess
from tests.support.other_user import as_user, needs_root

NOBODY = 65_534


def run_check(daemon: DaemonProcess, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            *(sys.executable, "-m", "sutler", f"--socket={daemon.socket}"),
            *("providers", "check", *arguments),
        ],
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_working_endpoint_is_ok_in_everything_it_offers(daemon: DaemonProcess) -> None:
    ran = run_check(daemon, "--json")
    assert ran.returncode == 0, ran.stderr
    checks = json.loads(ran.stdout)["checks"]
    assert {check["what"] for check in checks} == {"completion", "stream", "tokens", "embedding"}
    assert {check["verdict"] for check in checks} == {"ok"}
    assert "reply to Say ok." in run_check(daemon).stdout


def test_nothing_of_a_check_is_stored(daemon: DaemonProcess, provider: ScriptedProvider) -> None:
    run_check(daemon)
    first = len(provider.requests)
    run_check(daemon)
    assert len(provider.requests) == 2 * first


@pytest.mark.fault("P7")
def test_a_refused_key_is_told_in_words_without_the_key(start: StartDaemon, folder: Path) -> None:
    said = "Incorrect API key provided: another-key-5678"
    with ScriptedProvider.in_thread(always=openai_error(401, said)) as refusing:
        daemon = start(
            config=(
                "    second:\n      kind: openai_compatible\n"
                f"      base_url: {refusing.base_url}\n      default_model: other-model\n"
                "      api_key: another-key-5678\n"
            )
        )
        ran = run_check(daemon, "second")
    assert ran.returncode == 1
    assert "failed" in ran.stdout
    assert "Incorrect API key" in ran.stdout
    assert "another-key-5678" not in ran.stdout + ran.stderr + daemon.log()


def test_a_name_that_is_not_configured_is_a_clear_error(daemon: DaemonProcess) -> None:
    ran = run_check(daemon, "scriptd")
    assert ran.returncode == 1
    assert "did you mean scripted?" in ran.stderr


@pytest.mark.fault("X18")
@needs_root
def test_only_operators_may_check(start: StartDaemon) -> None:
    daemon = start(config="daemon: {socket_mode: '0666'}\n")
    daemon.folder.chmod(0o755)
    daemon.folder.parent.chmod(0o755)
    daemon.socket.parent.chmod(0o755)
    reply = as_user(NOBODY, lambda: daemon.ask("providers.check"))
    assert reply["error"]["data"]["type"] == "access_denied"
