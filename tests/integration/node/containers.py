"""Containers that an ordinary user of the node may start, as Apptainer's are."""

from __future__ import annotations

import shutil

import pytest

#: Whatever it is sent, it says so.
SQUAT = """
import os, socket
os.umask(0)
listening = socket.socket(socket.AF_UNIX)
listening.bind("/tmp/squatted/sutler.sock")
listening.listen()
print("ready", flush=True)
print(listening.accept()[0].recv(100))
"""
#: Makes what charliecloud wants to see before it binds the node's own programs into it.
IMAGE = """
mkdir /tmp/image && cd /tmp/image
mkdir bin dev etc home lib lib64 mnt opt proc root run run/sutler sys tmp usr var
cp /etc/ld.so.cache etc/ && touch etc/group etc/hosts etc/passwd etc/resolv.conf
"""
_BOUND = ("/usr", "/opt", "/lib", "/lib64", "/bin", "/run/sutler")
#: Two kinds of containers that need no root: in neither has root a number.
CONTAINED = {
    "unshare": ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc"],
    "charliecloud": [
        *("env", "USER=alice", "ch-run"),
        *(f"--bind={path}" for path in _BOUND),
        *("/tmp/image", "--"),
    ],
}


def needs(kind: str) -> None:
    """Skip, loudly, where a container runtime is missing."""
    if kind == "charliecloud" and shutil.which("ch-run") is None:
        pytest.skip("LEFT OUT: no container runtime to try (Debian: charliecloud-runtime)")
