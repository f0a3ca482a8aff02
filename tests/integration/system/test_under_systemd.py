"""With systemd's own tools: its cleaner of temporary folders, and its socket activation."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from sutlerd.system.listening import SocketAccess, listen
from sutlerd.system.lock import lock_folder

UID = os.geteuid()


def _tool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"LEFT OUT: {name} is not installed (Debian: systemd)")
    return found


def _grow_old(folder: Path) -> None:
    for path in sorted(folder.rglob("*"), reverse=True):
        os.utime(path, (1, 1))


def test_a_cleaner_of_temporary_folders_leaves_an_idle_daemons_alone(tmp_path: Path) -> None:
    cleaner = _tool("systemd-tmpfiles")
    area = tmp_path / "area"
    for name in ("state", "abandoned"):
        (area / name).mkdir(parents=True)
        (area / name / "data.mdb").touch()
    lock = lock_folder(area / "state", uid=UID)
    served = listen(area / "served", SocketAccess(), uid=UID)
    forgotten = listen(area / "forgotten", SocketAccess(), uid=UID)
    _grow_old(area)
    assert served.still_there()
    # Clean this one folder, of what has not been modified for an hour.
    (tmp_path / "clean.conf").write_text(f"d {area} 0700 - - m:1h\n")
    subprocess.run([cleaner, "--clean", str(tmp_path / "clean.conf")], check=True)
    left = {str(path.relative_to(area)) for path in area.rglob("*")}
    assert {"state/data.mdb", "state/sutlerd.lock", "served", "served.lock"} <= left
    assert not {"abandoned/data.mdb", "forgotten", "forgotten.lock"} & left
    assert not forgotten.still_there()
    for listener in (served, forgotten):
        listener.close()
    lock.release()


SERVE_ONE = """
import os, select
from sutlerd.system.activation import inherited_listener
listener = inherited_listener(os.environ, pid=os.getpid())
select.select([listener.socket], [], [])
connection, _ = listener.socket.accept()
connection.sendall(listener.path.encode())
"""


def test_a_socket_of_systemds_own_making_is_served(tmp_path: Path) -> None:
    activate = _tool("systemd-socket-activate")
    path = tmp_path / "s"
    command = [activate, f"--listen={path}", "--setenv=PYTHONPATH"]
    command += [sys.executable, "-c", SERVE_ONE]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert "Listening on" in process.stderr.readline()
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(20)
            client.connect(str(path))
            assert client.recv(1000) == os.fsencode(path)
        process.communicate()
