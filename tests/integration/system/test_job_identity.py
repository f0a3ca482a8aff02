"""Jobs of real processes, in real cgroups laid out as Slurm does."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sutlerd.system.peers import identify

CGROUPS = Path("/sys/fs/cgroup")
CONNECT = (
    "import socket, sys\n"
    "sys.stdin.readline()\n"
    "sock = socket.socket(socket.AF_UNIX); sock.connect(sys.argv[1])\n"
    "sys.stdin.read()\n"
)

Connect = Callable[[Path], tuple[subprocess.Popen[bytes], socket.socket]]


@pytest.fixture
def made() -> Iterator[list[Path]]:
    """Take away the cgroups that a test made, the innermost first."""
    folders: list[Path] = []
    yield folders
    for folder in reversed(folders):
        folder.rmdir()


@pytest.fixture
def connect(tmp_path: Path, made: list[Path]) -> Iterator[Connect]:
    """Give a function that connects a new process from inside of a cgroup."""
    children: list[subprocess.Popen[bytes]] = []
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "s"))
        listening.listen()
        listening.settimeout(20)

        def connect_in(cgroup: Path) -> tuple[subprocess.Popen[bytes], socket.socket]:
            child = subprocess.Popen(
                [sys.executable, "-c", CONNECT, str(tmp_path / "s")], stdin=subprocess.PIPE
            )
            children.append(child)
            (cgroup / "cgroup.procs").write_text(str(child.pid))
            assert child.stdin is not None
            child.stdin.write(b"go\n")
            child.stdin.flush()
            return child, listening.accept()[0]

        yield connect_in
        for child in children:
            child.communicate()


def _make_cgroup(hierarchy: str, below: str, made: list[Path]) -> Path:
    """Make a cgroup, parent by parent, or leave the test out."""
    folder = CGROUPS / hierarchy
    if hierarchy == "unified" and (CGROUPS / "cgroup.controllers").exists():
        folder = CGROUPS  # version 2 alone, without the older ones beside it
    if not (folder / "cgroup.procs").exists() or not os.access(folder, os.W_OK):
        pytest.skip(f"LEFT OUT: no writable cgroups in {folder}; run this as root of a machine")
    for name in below.split("/"):
        folder /= name
        if not folder.exists():
            folder.mkdir()
            made.append(folder)
    return folder


@pytest.mark.parametrize(
    ("hierarchy", "below"),
    [
        ("freezer", f"slurm_sutler-{os.getpid()}/uid_0/job_4711/step_0"),
        ("unified", f"system.slice/sutler-{os.getpid()}_slurmstepd.scope/job_4711/step_0"),
    ],
    ids=["version-1", "version-2"],
)
def test_a_process_in_slurms_cgroup_has_its_job(
    hierarchy: str, below: str, made: list[Path], connect: Connect
) -> None:
    _, connection = connect(_make_cgroup(hierarchy, below, made))
    with connection:
        assert identify(connection).job == "4711"


@pytest.mark.fault("X7")
def test_a_slurm_like_cgroup_in_a_users_slice_has_none(made: list[Path], connect: Connect) -> None:
    below = f"sutler-{os.getpid()}.slice/user@1000.service/slurmstepd.scope/job_999"
    cgroup = _make_cgroup("unified", below, made)
    child, connection = connect(cgroup)
    assert f"0::/{below}\n" in Path(f"/proc/{child.pid}/cgroup").read_text()
    with connection:
        assert identify(connection).job is None


@pytest.mark.fault("X7")
def test_a_process_that_has_ended_gets_no_job_from_whoever_has_its_pid(
    made: list[Path], connect: Connect
) -> None:
    below = f"system.slice/sutler-{os.getpid()}_slurmstepd.scope/job_4712"
    cgroup = _make_cgroup("unified", below, made)
    child, connection = connect(cgroup)
    child.kill()
    # Not waited for: its pid is taken, its /proc entry still names the job, but it is no more.
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    with connection:
        assert identify(connection).job is None
