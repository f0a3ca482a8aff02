"""``sutler run``: a daemon for one command, and nothing of it left behind. ``sutlerd --job``."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.contract.scripted import ScriptedProvider
from tests.integration.cli import command
from tests.integration.cli.command import AtTerminal
from tests.integration.faults.rig import by_default, llm_group
from tests.integration.node.reloads import until

ASK = f"{sys.executable} -m sutler chat"
SHOW = f"{sys.executable} -m sutler budget --json"


class Runs:
    """Runs of commands in front of one provider, with a ``$TMPDIR`` of their own."""

    def __init__(self, folder: Path, provider: ScriptedProvider) -> None:
        self.provider = provider
        self.temporary = folder / "t"
        self.temporary.mkdir()
        self.config = folder / "sutler.yaml"
        self.config.write_text(json.dumps({"llm": llm_group(provider.base_url)}))
        self.env = {"TMPDIR": str(self.temporary)}

    def words(self, *options: str, shell: str) -> list[str]:
        return ["run", f"--config={self.config}", *options, "--", "sh", "-c", shell]

    def __call__(
        self, *options: str, shell: str, beside: Sequence[str] = ()
    ) -> subprocess.CompletedProcess[bytes]:
        done = command.sutler(*self.words(*options, shell=shell), env=self.env)
        assert self.left() == list(beside), "something was left behind"
        return done

    def left(self) -> list[str]:
        return sorted(path.name for path in self.temporary.iterdir())


@pytest.fixture
def runs(tmp_path: Path) -> Iterator[Runs]:
    with ScriptedProvider.in_thread(always=by_default) as provider:
        yield Runs(tmp_path, provider)


def test_a_command_has_a_daemon_and_its_own_output_and_exit_code(runs: Runs) -> None:
    done = runs(shell=f"{ASK} one; {ASK} one; {ASK} two; exit 7")
    assert done.returncode == 7
    assert done.stdout == b"to: one\nto: one\nto: two\n"
    said = done.stderr.decode().splitlines()
    assert said[0] == "sutler run: what was asked"
    assert said[2].split()[:4] == ["scripted", "test-model", "3", "1"]
    assert len(runs.provider.requests) == 2
    assert runs("--quiet", shell="true").stderr == b""


def test_answers_are_kept_in_a_file_and_found_there_by_the_next_run(
    runs: Runs, tmp_path: Path
) -> None:
    kept = tmp_path / "answers"
    # A file that is none of ours stops nothing, and is replaced by a sound one.
    kept.write_bytes(b"no database at all" * 1000)
    for _ in range(2):
        done = runs("--quiet", f"--cache-file={kept}", shell=f"{ASK} again")
        assert (done.returncode, done.stdout, done.stderr) == (0, b"to: again\n", b"")
    assert len(runs.provider.requests) == 1
    assert kept.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir() if "answers" in path.name] == ["answers"]
    nowhere = tmp_path / "nowhere" / "answers"
    done = runs("--quiet", f"--cache-file={nowhere}", shell="true")
    assert done.returncode == 0
    assert b"the cache is not kept" in done.stderr


def test_a_budget_holds_over_all_runs_with_one_ledger(runs: Runs, tmp_path: Path) -> None:
    config = json.loads(runs.config.read_text())
    config["llm"]["prices"] = {"scripted/test-model": {"input_usd": 1000, "output_usd": 1000}}
    runs.config.write_text(json.dumps(config))
    ledger = f"--ledger-dir={tmp_path / 'ledger'}"
    ask = f"{ASK} one --max-tokens=5"
    assert runs("--budget=5", ledger, shell=ask).returncode == 0
    # Twelve thousandths of a dollar are spent: with a smaller limit nothing is left.
    done = runs("--budget=0.01", ledger, shell=f"{ask}; {SHOW}")
    assert b"budget" in done.stderr
    (budget,) = json.loads(done.stdout)["budgets"]
    assert (budget["limit_nanousd"], budget["settled_nanousd"]) == (10_000_000, 12_000_000)
    assert len(runs.provider.requests) == 1
    assert runs("--budget=5", ledger, shell=ask).returncode == 0


def test_signals_reach_the_command_and_its_end_is_the_exit_code(runs: Runs, tmp_path: Path) -> None:
    heard = tmp_path / "heard"
    traps = "".join(f"trap 'echo {name} >> {heard}' {name}; " for name in ("HUP", "USR1"))
    shell = f"{traps}trap 'exit 5' TERM; touch {heard}; while :; do sleep 0.05; done"
    process = command.started(*runs.words("--quiet", shell=shell))
    until(heard.exists)
    said = ""
    for number, name in ((signal.SIGHUP, "HUP"), (signal.SIGUSR1, "USR1")):
        process.send_signal(number)
        said += f"{name}\n"
        until(lambda said=said: heard.read_text() == said)  # type: ignore[misc]
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=40)[0] == b""
    assert process.returncode == 5


def test_a_command_that_a_signal_ends_gives_128_and_its_number(runs: Runs) -> None:
    assert runs("--quiet", shell="kill -TERM $$").returncode == 128 + signal.SIGTERM


def test_ctrl_c_reaches_the_command_once_and_the_account_is_still_given(
    runs: Runs, tmp_path: Path
) -> None:
    shell = f"trap 'echo interrupted >> {tmp_path}/n' INT; {ASK} x; echo begun; sleep 1; exit 4"
    terminal = AtTerminal(*runs.words(shell=shell), env=runs.env)
    terminal.read_until(b"begun")
    terminal.type(b"\x03")
    assert terminal.end() == 4
    assert b"what was asked" in terminal.screen
    assert (tmp_path / "n").read_text() == "interrupted\n"
    assert runs.left() == []


def test_a_command_or_a_daemon_that_cannot_be_started_is_told(runs: Runs, tmp_path: Path) -> None:
    done = command.sutler("run", "--", "no-such-command-here", env=runs.env)
    assert done.returncode == 127
    assert b"no-such-command-here: not found" in done.stderr
    assert runs.left() == []
    (tmp_path / "sutler.yaml").write_text("llm: {max_retrys: 1}\n")
    done = runs(shell="echo never")
    assert done.returncode == 3
    assert done.stdout == b""
    assert b"did you mean 'max_retries'?" in done.stderr
    assert command.sutler("run", env=runs.env).returncode == 2


def test_a_run_that_is_killed_takes_its_daemon_along_and_the_next_one_cleans_up(
    runs: Runs, tmp_path: Path
) -> None:
    pids = tmp_path / "pids"
    shell = f"cat /proc/$PPID/task/$PPID/children > {pids}.new; mv {pids}.new {pids}; read line"
    words = runs.words("--quiet", shell=shell)
    process = command.started(*words, env=runs.env)
    until(pids.exists)
    daemons = [int(pid) for pid in pids.read_text().split() if _runs(int(pid), b"sutlerd")]
    assert len(daemons) == 1
    (used,) = runs.left()
    runs("--quiet", shell="true", beside=[used])
    process.kill()
    process.communicate()
    until(lambda: not _runs(daemons[0], b"sutlerd"))
    assert runs.left() == [used]
    (runs.temporary / "sutler-run-of-others").symlink_to(tmp_path)
    runs("--quiet", shell="true", beside=["sutler-run-of-others"])
    assert runs.config.exists()


def _runs(pid: int, what: bytes) -> bool:
    try:
        return what in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def test_a_jobs_daemon_keeps_everything_below_tmpdir_and_apart_from_other_jobs(
    runs: Runs,
) -> None:
    sockets = []
    daemons = []
    for job in ("41", "42"):
        environ = {**os.environ, **runs.env, "SLURM_JOB_ID": job, "HOME": "/nonexistent"}
        daemons.append(
            subprocess.Popen(
                [sys.executable, "-m", "sutlerd", "--job", f"--config={runs.config}"],
                env=environ,
                stderr=subprocess.DEVNULL,
            )
        )
        sockets.append(runs.temporary / f"sutler-{os.geteuid()}" / f"job-{job}" / "sutler.sock")
    try:
        for path in sockets:
            until(path.exists)
            done = command.sutler("chat", "hello", env={"SUTLER_SOCKET": str(path)})
            assert done.stdout == b"to: hello\n"
            assert {each.name for each in path.parent.iterdir()} >= {"state", "cache"}
    finally:
        for daemon in daemons:
            daemon.terminate()
            assert daemon.wait(30) == 0
