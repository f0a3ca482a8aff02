"""In a real Slurm: who a job is, its account at its end, and a daemon for one job."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.scripted import ScriptedProvider
from tests.integration.cli.command import environment
from tests.integration.faults.rig import by_default, llm_group
from tests.integration.node.reloads import until
from tests.support.daemon_process import DaemonProcess
from tests.support.slurm import Slurm, needs_slurm

SUTLER = f"{sys.executable} -m sutler"
#: Says as whom the daemon knows the one who asks.
WHO = "import sutler; print(sutler.Client().hello()['caller']['job'])"

pytestmark = pytest.mark.timeout(200)


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[DaemonProcess, Slurm]]:
    """A node's daemon and its batch system, whose epilog asks for every job's account."""
    needs_slurm()
    folder = tmp_path_factory.mktemp("slurm")
    paths = environment()["PYTHONPATH"]
    with ScriptedProvider.in_thread(always=by_default) as provider:
        daemon = DaemonProcess(
            folder / "d", config=json.dumps({"llm": llm_group(provider.base_url)})
        )
        epilog = (
            f"export PYTHONPATH={paths} SUTLER_SOCKET={daemon.socket}\n"
            f"account={folder}/epilog.$SLURM_JOB_ID\n"
            f"{SUTLER} report --json --job $SLURM_JOB_ID > $account.new 2>&1\n"
            "mv $account.new $account\n"
        )
        with daemon, Slurm(folder / "s", epilog=epilog) as slurm:
            yield daemon, slurm


@pytest.mark.fault("X7")
def test_a_job_is_told_by_its_cgroup_whatever_it_says_of_itself_and_has_its_account(
    node: tuple[DaemonProcess, Slurm],
) -> None:
    daemon, slurm = node
    at = {**environment(), "SUTLER_SOCKET": str(daemon.socket)}
    told = []
    for lie in ("", "999"):
        forged = f"SLURM_JOB_ID={lie} " if lie else ""
        ask = f'{forged}{sys.executable} -c "{WHO}"; {forged}{SUTLER} chat "q {lie}"'
        done = slurm.srun("-n1", "sh", "-c", f"echo $SLURM_JOB_ID; {ask}", **at)
        assert done.returncode == 0, done.stderr + slurm.logs()
        job, known_as, _ = done.stdout.splitlines()
        assert job == known_as != lie
        told.append(job)
    assert len(set(told)) == 2
    # Outside of any job the same words make nobody a job.
    outside = subprocess.run(
        [sys.executable, "-c", WHO],
        env={**at, "SLURM_JOB_ID": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert outside.stdout == "None\n"
    for job in told:
        account = daemon.folder.parent / f"epilog.{job}"
        until(account.exists)
        report = json.loads(account.read_text())
        assert report["job"] == job
        assert report["total"]["calls"] == 1


def test_a_command_in_a_job_has_a_daemon_of_its_own(
    node: tuple[DaemonProcess, Slurm], tmp_path: Path
) -> None:
    daemon, slurm = node
    temporary = tmp_path / "t"
    temporary.mkdir()
    config = daemon.folder / "sutler.yaml"
    run = f"{SUTLER} run --config={config} -- sh -c '{SUTLER} chat of-its-own; exit 6'"
    done = slurm.srun("-n1", "sh", "-c", run, **environment({"TMPDIR": str(temporary)}))
    assert done.returncode == 6, done.stderr
    assert done.stdout == "to: of-its-own\n"
    assert "sutler run: what was asked" in done.stderr
    assert list(temporary.iterdir()) == []


def test_a_daemon_beside_a_jobs_steps_serves_them_all(
    node: tuple[DaemonProcess, Slurm], tmp_path: Path
) -> None:
    daemon, slurm = node
    config = daemon.folder / "sutler.yaml"
    path = f"$TMPDIR/sutler-{os.geteuid()}/job-$SLURM_JOB_ID/sutler.sock"
    script = (
        f"srun --overlap -n1 {sys.executable} -m sutlerd --job --config={config} & "
        f"export SUTLER_SOCKET={path}; until {SUTLER} ping >&2; do sleep 0.2; done; "
        f"srun --overlap --overcommit -n2 {SUTLER} chat together; {SUTLER} drain; wait"
    )
    done = slurm.srun(
        "--overlap", "-n1", "sh", "-c", script, **environment({"TMPDIR": str(tmp_path)})
    )
    assert done.stdout == "to: together\n" * 2, done.stderr + slurm.logs()
