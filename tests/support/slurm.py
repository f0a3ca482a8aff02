"""A real Slurm of one node: munged, slurmctld and slurmd in the foreground, below one folder."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

import pytest

_TOOLS = ("munged", "slurmctld", "slurmd", "srun", "sbatch", "sinfo")
_UP_WITHIN_S = 40.0
_JOB_WITHIN_S = 90.0
#: Slurm's hierarchy of version 1, in which it tells processes of a job by their cgroup.
_FREEZER = Path("/sys/fs/cgroup/freezer")
_CONFIG = """\
ClusterName=one
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ctld}
SlurmdPort={d}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CryptoType=crypto/munge
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/cgroup
TaskPlugin=task/none
MpiDefault=none
ReturnToService=2
SchedulerType=sched/builtin
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
Epilog={folder}/epilog
PrologFlags=Alloc
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory=500 State=UNKNOWN
PartitionName=all Nodes={host} Default=YES MaxTime=10 State=UP OverSubscribe=FORCE
"""
_CGROUPS = """\
CgroupPlugin=cgroup/v1
CgroupAutomount=no
CgroupMountpoint=/sys/fs/cgroup
ConstrainCores=no
ConstrainRAMSpace=no
"""


def needs_slurm() -> None:
    """Skip, loudly, where there is no Slurm or no cgroup for it."""
    missing = [tool for tool in _TOOLS if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"LEFT OUT: no real Slurm: {', '.join(missing)} missing (slurm-wlm, munge)")
    if os.geteuid() != 0 or not os.access(_FREEZER, os.W_OK):
        pytest.skip("LEFT OUT: no real Slurm: it wants root and cgroups of version 1")


class Slurm:
    """A context manager. ``epilog`` is a shell script that ends every job, run as root."""

    def __init__(self, folder: Path, *, epilog: str) -> None:
        self.folder = folder
        self._epilog = epilog
        self._host = socket.gethostname().partition(".")[0]
        self._daemons: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        for name in ("", "state", "spool"):
            (self.folder / name).mkdir(exist_ok=True)
        self.folder.chmod(0o755)
        (self.folder / "munge.key").write_bytes(os.urandom(1024))
        (self.folder / "munge.key").chmod(0o400)
        controller, node = _two_free_ports()
        values = {"host": self._host, "folder": self.folder, "cpus": os.cpu_count() or 1}
        values |= {"ctld": controller, "d": node}
        (self.folder / "slurm.conf").write_text(_CONFIG.format(**values))
        (self.folder / "cgroup.conf").write_text(_CGROUPS)
        (self.folder / "epilog").write_text(f"#!/bin/sh\n{self._epilog}\n")
        (self.folder / "epilog").chmod(0o755)
        try:
            self._start_daemons()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for daemon in reversed(self._daemons):
            daemon.terminate()
            try:
                daemon.wait(20)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        for hierarchy in Path("/sys/fs/cgroup").iterdir():
            top = hierarchy / f"slurm_{self._host}"
            for path in sorted(top.rglob("*"), reverse=True) if top.is_dir() else ():
                if path.is_dir():
                    with contextlib.suppress(OSError):
                        path.rmdir()
            with contextlib.suppress(OSError):
                top.rmdir()

    def srun(self, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
        return self._command("srun", "--overcommit", *words, **environ)

    def logs(self) -> str:
        return "".join(
            path.read_text(errors="replace")[-3000:] for path in self.folder.glob("*.log")
        )

    def _command(self, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            words,
            capture_output=True,
            text=True,
            check=False,
            timeout=_JOB_WITHIN_S,
            cwd=self.folder,
            env={**os.environ, "SLURM_CONF": str(self.folder / "slurm.conf"), **environ},
        )

    def _start_daemons(self) -> None:
        here = self.folder
        munge = [f"--{name}={here}/munge.{end}" for name, end in _MUNGE_FILES]
        self._start("munged", "--foreground", "--force", *munge)
        _until((here / "munge.socket").exists, self.logs)
        self._start("slurmctld", "-D", "-f", str(here / "slurm.conf"))
        self._start("slurmd", "-D", "-f", str(here / "slurm.conf"), "-N", self._host)
        _until(
            lambda: self._command("sinfo", "--noheader", "-o", "%t").stdout.strip() == "idle",
            self.logs,
        )

    def _start(self, *words: str) -> None:
        with (self.folder / f"{words[0]}.said.log").open("wb") as log:
            self._daemons.append(
                subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
            )


_MUNGE_FILES = (
    ("key-file", "key"),
    ("socket", "socket"),
    ("pid-file", "pid"),
    ("log-file", "own.log"),
    ("seed-file", "seed"),
)


def _two_free_ports() -> tuple[int, int]:
    with socket.socket() as one, socket.socket() as other:
        for probe in (one, other):
            probe.bind(("127.0.0.1", 0))
        return one.getsockname()[1], other.getsockname()[1]


def _until(holds: Callable[[], bool], logs: Callable[[], str]) -> None:
    end_s = time.monotonic() + _UP_WITHIN_S
    while not holds():
        assert time.monotonic() < end_s, logs()
        time.sleep(0.1)
