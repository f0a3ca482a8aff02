"""Hardened processes, looked at from outside."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from sutlerd.system.hardening import clean_environment, connection_limit
from tests.support.other_user import OTHER_UID, as_user, needs_root

HARDENED = """
import ctypes, os, resource, sys
from sutlerd.system.hardening import Hardened, harden
if len(sys.argv) > 1:
    os.setgid(int(sys.argv[1])); os.setuid(int(sys.argv[1]))
    # Changing the uid takes this away, exec gives it: be as if freshly executed.
    ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)
done = Hardened(descriptors=0, warnings=()) if "as-it-is" in sys.argv else harden()
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
mask = os.umask(0); os.umask(mask)
print(done.descriptors, soft, hard, *resource.getrlimit(resource.RLIMIT_CORE), oct(mask))
print(*done.warnings, flush=True)
sys.stdin.readline()
"""


@contextmanager
def _hardened(
    *arguments: str, limits: tuple[int, int] | None = None
) -> Iterator[tuple[subprocess.Popen[str], list[str], str]]:
    def limit() -> None:
        if limits is not None:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)

    with subprocess.Popen(
        [sys.executable, "-c", HARDENED, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=limit,
        env={**os.environ, "OPENAI_API_KEY": "sk-secret"},
    ) as process:
        assert process.stdout is not None
        yield process, process.stdout.readline().split(), process.stdout.readline().strip()
        process.kill()


def _readable_as(uid: int, pid: int) -> set[str]:
    """Name what another process of this uid can read of a process."""

    def attempt() -> set[str]:
        found = set()
        for name in ("environ", "mem", "maps", "cgroup", "stat"):
            try:
                with open(f"/proc/{pid}/{name}", "rb") as file:
                    if name == "mem" or file.read(1):
                        found.add(name)
            except PermissionError:
                pass
        return found

    return as_user(uid, attempt)


@needs_root
@pytest.mark.fault("X5")
def test_a_process_of_the_same_uid_cannot_read_the_daemons_memory() -> None:
    with _hardened(str(OTHER_UID), "as-it-is") as (process, said, _):
        assert said
        assert "environ" in _readable_as(OTHER_UID, process.pid)
    with _hardened(str(OTHER_UID)) as (process, said, warnings):
        assert said
        assert warnings == ""
        assert _readable_as(OTHER_UID, process.pid) == {"cgroup", "stat"}


@needs_root
@pytest.mark.fault("O9")
def test_a_hardened_process_still_binds_long_paths() -> None:
    bind = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from sutlerd.system.hardening import harden\n"
        "from sutlerd.system.listening import SocketAccess, listen\n"
        "os.setgid(int(sys.argv[1])); os.setuid(int(sys.argv[1]))\n"
        "harden()\n"
        "listener = listen(Path(sys.argv[2]), SocketAccess(), uid=os.geteuid())\n"
        "print(listener.still_there(), flush=True)\n"
        "listener.close()\n"
    )
    with tempfile.TemporaryDirectory() as folder:
        os.chown(folder, OTHER_UID, OTHER_UID)
        path = os.path.join(folder, "f" * 150, "s")
        arguments = [sys.executable, "-c", bind, str(OTHER_UID), path]
        assert subprocess.check_output(arguments) == b"True\n"


@pytest.mark.fault("X5")
def test_no_core_is_written_and_new_files_are_for_us_alone() -> None:
    with _hardened() as (_, said, warnings):
        assert said[3:] == ["0", "0", "0o77"]
        assert warnings == ""


@pytest.mark.fault("R1")
def test_the_descriptor_limit_is_raised_as_far_as_allowed() -> None:
    with _hardened(limits=(64, 512)) as (_, said, _):
        assert said[:3] == ["512", "512", "512"]


@pytest.mark.fault("R1")
def test_connections_are_held_below_half_of_the_descriptors() -> None:
    assert connection_limit(1024, 20_000) == (1024, None)
    limit, warning = connection_limit(1024, 64)
    assert limit == 31
    assert warning is not None
    assert "limits.connections is 1024" in warning
    assert "64 file descriptors" in warning
    assert connection_limit(10, 1)[0] == 1


@pytest.mark.fault("X5")
def test_children_get_no_keys_and_nothing_of_the_service_manager() -> None:
    environ = {
        "PATH": "/bin",
        "LC_ALL": "C",
        "CUDA_VISIBLE_DEVICES": "1",
        "OPENAI_API_KEY": "sk-secret",
        "NOTIFY_SOCKET": "/run/notify",
        "LISTEN_FDS": "1",
        "CREDENTIALS_DIRECTORY": "/run/credentials",
        "MY_FLAG": "x",
    }
    clean = clean_environment(environ, also=["MY_FLAG"])
    assert clean == {"PATH": "/bin", "LC_ALL": "C", "CUDA_VISIBLE_DEVICES": "1", "MY_FLAG": "x"}
    shown = subprocess.run(
        [sys.executable, "-c", "print(open('/proc/self/environ').read())"],
        env=clean_environment(os.environ | {"OPENAI_API_KEY": "sk-secret"}),
        capture_output=True,
        text=True,
        check=True,
    )
    assert "sk-secret" not in shown.stdout
