"""Close the process to others, and give it the descriptors it needs. Called once, at start."""

from __future__ import annotations

import ctypes
import os
import resource
from collections.abc import Iterable, Mapping

from sutlerd.domain.record import record

_PR_SET_DUMPABLE = 4

#: Container engines set hard limits of a thousand million; tables for so many cost memory.
_MOST_DESCRIPTORS = 1 << 20

#: What a child may need to find its libraries, its devices and its folders.
_CHILD_VARIABLES = frozenset(
    {
        "PATH",
        "HOME",
        "USER",
        "LOGNAME",
        "LANG",
        "LANGUAGE",
        "TZ",
        "TMPDIR",
        "LD_LIBRARY_PATH",
        "PYTHONPATH",
        "PYTHONHOME",
        "VIRTUAL_ENV",
        "OMP_NUM_THREADS",
        "CUDA_VISIBLE_DEVICES",
        "ROCR_VISIBLE_DEVICES",
        "HIP_VISIBLE_DEVICES",
        "ZE_AFFINITY_MASK",
    }
)


@record
class Hardened:
    """What holds from now on. ``warnings`` are sentences about what could not be done."""

    descriptors: int
    warnings: tuple[str, ...]


def harden() -> Hardened:
    """Make this process unreadable to others of its own uid, and raise its descriptor limit.

    Not dumpable: ``/proc/PID/environ``, ``mem`` and ``maps`` are closed, and no core is
    written. What an earlier moment showed is not taken back: keys that came by the environment
    could be read until here.
    """
    warnings = []
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        warnings.append(
            "the process stays readable to others of its uid: "
            f"prctl(PR_SET_DUMPABLE): {os.strerror(ctypes.get_errno())}"
        )
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.umask(0o077)
    descriptors, warning = _raise_descriptor_limit()
    return Hardened(descriptors=descriptors, warnings=(*warnings, *([warning] if warning else [])))


def connection_limit(configured: int, descriptors: int) -> tuple[int, str | None]:
    """Hold the limit of connections below half of the descriptors; with a warning if it was not.

    The other half is for providers, databases and logs, which must go on at any load.
    """
    most = max(1, (descriptors - 1) // 2)
    if configured <= most:
        return configured, None
    return most, (
        f"limits.connections is {configured}, but with {descriptors} file descriptors "
        f"(ulimit -n, LimitNOFILE=) only {most} connections are allowed"
    )


def clean_environment(environ: Mapping[str, str], also: Iterable[str] = ()) -> dict[str, str]:
    """Give the environment for a child: what is listed here, locales, ``also``, and no keys."""
    allowed = _CHILD_VARIABLES.union(also)
    return {
        name: value for name, value in environ.items() if name in allowed or name.startswith("LC_")
    }


def _raise_descriptor_limit() -> tuple[int, str | None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _MOST_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft >= wanted:
        return soft, None
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (OSError, ValueError) as error:
        return soft, f"the limit of {soft} file descriptors cannot be raised: {error}"
    return wanted, None
