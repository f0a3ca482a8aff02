"""Batch jobs from cgroup paths, real ones and forged ones."""

from __future__ import annotations

import pytest

from sutlerd.system.jobs import job_of_cgroups

SLURM_V1 = """\
11:freezer:/slurm/uid_1000/job_4711/step_0
9:name=systemd:/system.slice/slurmd.service
4:memory:/slurm/uid_1000/job_4711/step_0/task_3
1:cpu,cpuacct:/system.slice/slurmd.service
0::/system.slice/slurmd.service
"""


@pytest.mark.parametrize(
    ("text", "job"),
    [
        (SLURM_V1, "4711"),
        ("5:memory:/slurm_node-7.cluster/uid_0/job_2/step_batch\n", "2"),
        ("3:cpuset:/slurm/uid_1/job_9\n", "9"),
        ("0::/system.slice/slurmstepd.scope/job_88/step_0/user/task_1\n", "88"),
        ("0::/system.slice/node07_slurmstepd.scope/job_88/step_extern\n", "88"),
        ("4:cpu,cpuacct:/pbs_jobs.service/jobid/1234.server\n", "1234.server"),
        ("4:memory:/pbspro.service/jobid/12[3].head-1\n", "12[3].head-1"),
        ("0::/pbs_jobs.service/jobs/7.opbs/sub\n", "7.opbs"),
        # As they stand in what centres have published of theirs.
        ("4:memory:/pbs_jobs.service/jobid/2404743.opbs\n", "2404743.opbs"),
        ("3:cpuset:/pbs_jobs.service/jobid/12345.gadi-pbs\n", "12345.gadi-pbs"),
        ("0::/system.slice/slurmstepd.scope/job_1392969/step_0/user/task_0\n", "1392969"),
    ],
)
def test_a_job_is_read_from_the_batch_systems_own_cgroup(text: str, job: str) -> None:
    assert job_of_cgroups(text) == job


@pytest.mark.fault("X7")
@pytest.mark.parametrize(
    "path",
    [
        "/user.slice/user-1000.slice/user@1000.service/slurmstepd.scope/job_999",
        "/user.slice/user-1000.slice/user@1000.service/system.slice/slurmstepd.scope/job_999",
        "/user@1000.service/slurmstepd.scope/job_999",
        "/user.slice/user-1000.slice/user@1000.service/slurm/uid_0/job_999",
        "/system.slice/evil.service/slurmstepd.scope/job_999",
        "/system.slice/slurmstepd.scope.d/job_999",
        "/system.slice/slurmstepd.scope/job_999x",
        "/system.slice/slurmstepd.scope/job_",
        "/system.slice/slurmstepd.scope/job_٣",
        "/../system.slice/slurmstepd.scope/job_999",
        "/slurm/uid_0/job_999",
        "/user.slice/x\u2028" + "0::/system.slice/slurmstepd.scope/job_999",
        "/user.slice/x\x1c" + "0::/system.slice/slurmstepd.scope/job_999",
        "/user.slice/pbs_jobs.service/jobid/1.server",
    ],
)
def test_a_forged_cgroup_of_version_2_is_no_job(path: str) -> None:
    assert job_of_cgroups(f"0::{path}\n") is None


@pytest.mark.fault("X7")
@pytest.mark.parametrize(
    "line",
    [
        "1:name=systemd:/slurm/uid_0/job_999",
        "4:memory:/user.slice/slurm/uid_0/job_999",
        "4:memory:/docker/slurm/uid_0/job_999",
        "4:memory:/slurm/job_999",
        "4:memory:/system.slice/slurmstepd.scope/job_999",
        "4:memory:/slurm_a/b/uid_0/job_999",
        "garbage",
        "",
    ],
)
def test_a_forged_cgroup_of_version_1_is_no_job(line: str) -> None:
    assert job_of_cgroups(line) is None
