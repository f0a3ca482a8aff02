"""The batch job of a process, from its ``/proc/PID/cgroup``. Pure.

A user may make any cgroup, with any name, inside the one that systemd delegates to them, so
every pattern is anchored at the hierarchy's root, where only root makes cgroups.
"""

from __future__ import annotations

import re

_SLURM_V1 = re.compile(r"/slurm(?:_[\w.-]+)?/uid_[0-9]+/job_([0-9]+)(?:/|$)", re.ASCII)
_SLURM_V2 = re.compile(
    r"/system\.slice/(?:[\w.-]+_)?slurmstepd\.scope/job_([0-9]+)(?:/|$)", re.ASCII
)
# The id has the server's name: 123.server, 123[4].server for one of an array.
_PBS = re.compile(
    r"/(?:pbs_jobs|pbspro)\.service/(?:jobid|jobs)/([0-9]+(?:\[[0-9]*\])?(?:\.[\w.-]+)?)(?:/|$)",
    re.ASCII,
)

# Slurm's own hierarchies of version 1; in a named one (name=systemd) it never is.
_V1_CONTROLLERS = frozenset({"freezer", "memory", "cpuset", "devices", "cpu", "cpuacct"})


def job_of_cgroups(text: str) -> str | None:
    """Give the job's id as the batch system spells it in ``SLURM_JOB_ID`` or ``PBS_JOBID``.

    ``text`` holds lines ``hierarchy:controllers:path``. None outside of any job.
    """
    # Not splitlines(): a cgroup's name may hold U+2028 and its like, which would forge a line.
    for line in text.split("\n"):
        hierarchy, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if hierarchy == "0" and not controllers:
            match = _SLURM_V2.match(path) or _PBS.match(path)
        elif _V1_CONTROLLERS & set(controllers.split(",")):
            match = _SLURM_V1.match(path) or _PBS.match(path)
        else:
            continue
        if match is not None:
            return match[1]
    return None
