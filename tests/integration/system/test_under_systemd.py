"""With systemd's own tools: its cleaner of temporary folders, and its socket activation."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
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


SERVE_BOTH = """
import os
from sutlerd.system.activation import inherited_listeners
found = inherited_listeners(os.environ, pid=os.getpid())
for said, listener in ((b"main", found.main), (b"http", found.http)):
    listener.socket.setblocking(True)
    connection, _ = listener.socket.accept()
    connection.sendall(said)
"""


def test_sockets_of_systemds_own_making_are_served(tmp_path: Path) -> None:
    activate = _tool("systemd-socket-activate")
    command = [activate, "--setenv=PYTHONPATH"]
    command += [f"--listen={tmp_path}/{name}.sock" for name in ("s-http", "s")]
    command += [sys.executable, "-c", SERVE_BOTH]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert "Listening on" in process.stderr.readline()
        assert "Listening on" in process.stderr.readline()
        for name, said in (("s", b"main"), ("s-http", b"http")):
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(20)
                client.connect(str(tmp_path / f"{name}.sock"))
                assert client.recv(1000) == said
        process.communicate()


def test_where_http_is_off_its_socket_says_so_and_keeps_nobody_waiting(tmp_path: Path) -> None:
    activate = _tool("systemd-socket-activate")
    (tmp_path / "sutler.yaml").write_text("http: {enabled: false}\n")
    command = [activate, "--setenv=PYTHONPATH"]
    command += [f"--listen={tmp_path}/{name}.sock" for name in ("s", "s-http")]
    command += [sys.executable, "-m", "sutlerd", f"--config={tmp_path}/sutler.yaml"]
    command += [f"--state-dir={tmp_path}/state", f"--cache-dir={tmp_path}/cache"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(20)
            _connect(client, tmp_path / "s-http.sock")
            told = b"".join(iter(lambda: client.recv(4096), b""))
        assert told.startswith(b"HTTP/1.1 403 ")
        assert b"HTTP is switched off here: http.enabled is false" in told
        process.terminate()
        assert process.wait(20) == 0


def _connect(client: socket.socket, path: Path) -> None:
    end_s = time.monotonic() + 20
    while client.connect_ex(str(path)) != 0:
        assert time.monotonic() < end_s
        time.sleep(0.01)
