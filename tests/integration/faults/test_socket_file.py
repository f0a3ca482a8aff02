"""The socket's file and the folders: stale, taken, squatted, linked, too long, removed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

import sutler
from sutlerd.system.exits import Exit
from tests.contract import answers
from tests.integration.faults.rig import Rig, held, serving
from tests.support.daemon_process import DaemonProcess
from tests.support.other_user import OTHER_UID, needs_root
from tests.support.wire_client import WireClient


def _does_not_start(folder: Path, *arguments: str) -> tuple[int, str]:
    """Give exit code and last words of a daemon that cannot start."""
    folder.mkdir(exist_ok=True)
    daemon = DaemonProcess(folder, arguments=arguments)
    ended = subprocess.run(
        daemon.command(), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30
    )
    assert "Traceback" not in ended.stderr
    return ended.returncode, ended.stderr.strip().splitlines()[-1]


@pytest.mark.fault("S12")
def test_a_second_daemon_on_the_same_folder_leaves_the_first_alone(tmp_path: Path) -> None:
    with serving(tmp_path) as rig, rig.client() as client:
        rig.answers["under way"] = held("gate", answers.openai_chat("undisturbed"))
        client.send("chat", prompt="under way")
        rig.wait_until_asked("under way")
        pid = rig.daemon.process.pid
        second = tmp_path / "second"
        for options in (
            (f"--state-dir={tmp_path / 'state'}",),
            (f"--cache-dir={tmp_path / 'cache'}",),
            (f"--socket={rig.daemon.socket}",),
        ):
            code, said = _does_not_start(second, *options)
            assert code == Exit.ALREADY_RUNNING
            assert f"pid {pid}" in said
        rig.provider.open("gate")
        assert client.line()["result"]["content"] == "undisturbed"


@pytest.mark.fault("S12")
def test_of_several_daemons_started_at_once_one_serves(tmp_path: Path) -> None:
    daemon = DaemonProcess(tmp_path)
    daemon.socket.parent.mkdir()
    started = [
        subprocess.Popen(
            daemon.command(),
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    try:
        until_s = time.monotonic() + 30
        while sum(each.poll() is None for each in started) > 1:
            assert time.monotonic() < until_s
            time.sleep(0.02)
        assert [each.returncode for each in started].count(None) == 1
        assert {each.returncode for each in started} == {None, Exit.ALREADY_RUNNING}
        assert daemon.result("ping") == {}
    finally:
        for each in started:
            each.terminate()
            each.communicate(timeout=30)


@pytest.mark.fault("O8")
@pytest.mark.parametrize("what", ["file", "folder"])
def test_what_is_no_socket_is_left_as_it_is(tmp_path: Path, what: str) -> None:
    path = tmp_path / "in the way"
    if what == "file":
        path.write_text("precious")
    else:
        path.mkdir()
    code, said = _does_not_start(tmp_path / "daemon", f"--socket={path}")
    assert code == Exit.CANNOT_CREATE
    assert str(path) in said
    assert path.read_text() == "precious" if what == "file" else path.is_dir()


@pytest.mark.fault("O9")
@pytest.mark.parametrize("length_bytes", [107, 108, 200])
def test_a_long_path_of_any_letters_is_bound_and_reached(tmp_path: Path, length_bytes: int) -> None:
    start = len(os.fsencode(tmp_path)) + 1
    # Two bytes a letter; the folder's and the file's names make up the rest.
    middle = "ü" * ((length_bytes - start - 3) // 2)
    path = tmp_path / middle / "s"
    path = path.with_name("s" * (length_bytes - len(os.fsencode(path)) + 1))
    assert len(os.fsencode(path)) == length_bytes
    daemon = DaemonProcess(tmp_path / "daemon", arguments=[f"--socket={path}"])
    daemon.folder.mkdir()
    process = subprocess.Popen(daemon.command(), stdin=subprocess.DEVNULL)
    try:
        until_s = time.monotonic() + 30
        while not path.exists():
            assert process.poll() is None
            assert time.monotonic() < until_s
            time.sleep(0.02)
        with WireClient(path) as client:
            assert client.result("ping") == {}
        with sutler.Client(str(path), timeout_s=10) as library:
            assert library.status()["state"] == "running"
    finally:
        process.terminate()
        assert process.wait(30) == 0
    assert not path.exists()


@pytest.mark.fault("O10")
def test_a_socket_that_is_removed_is_bound_anew_and_open_connections_go_on(
    tmp_path: Path,
) -> None:
    with serving(tmp_path) as rig, rig.client() as before:
        assert before.result("ping") == {}
        rig.daemon.socket.unlink()
        _is_back(rig)
        assert before.result("ping") == {}
        assert rig.daemon.result("ping") == {}
        assert "socket_bound_anew" in rig.daemon.log()
        assert before.result("chat", prompt="still there")["content"] == "to: still there"


def _is_back(rig: Rig) -> None:
    until_s = time.monotonic() + 15
    while not rig.daemon.socket.exists():
        assert time.monotonic() < until_s, "the socket did not come back"
        time.sleep(0.05)


@needs_root
@pytest.mark.fault("O10")
@pytest.mark.parametrize(
    ("owner", "mode", "remedy"), [(OTHER_UID, 0o700, "chown"), (0, 0o777, "chmod")]
)
def test_a_folder_that_others_rule_is_not_used(
    tmp_path: Path, owner: int, mode: int, remedy: str
) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    os.chown(folder, owner, owner)
    folder.chmod(mode)
    code, said = _does_not_start(tmp_path / "daemon", f"--socket={folder / 's'}")
    assert code == Exit.CANNOT_CREATE
    for part in (str(folder), f"uid {owner}", remedy):
        assert part in said
    assert list(folder.iterdir()) == []


_ASKS = """
import sutler

try:
    sutler.Client().chat("x")
except sutler.DaemonUnavailable as error:
    print(error)
"""


@pytest.mark.fault("O10")
def test_a_client_without_a_daemon_is_told_each_place_it_looked(tmp_path: Path) -> None:
    environ = {"XDG_RUNTIME_DIR": str(tmp_path), "TMPDIR": str(tmp_path / "tmp")}
    said = subprocess.run(
        [sys.executable, "-c", _ASKS],
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    ).stdout
    assert f"{tmp_path}/sutler/sutler.sock" in said
    assert f"{tmp_path}/tmp/sutler-{os.geteuid()}/sutler.sock" in said
    assert "/run/sutler/sutler.sock" in said


@pytest.mark.fault("X3")
def test_links_are_never_followed_and_their_targets_never_touched(tmp_path: Path) -> None:
    target = tmp_path / "of another"
    target.write_text("precious")
    for place in ("socket", "state/sutlerd.lock", "cache/sutlerd.lock"):
        folder = tmp_path / place.replace("/", "-")
        options = {name: folder / name for name in ("socket", "state", "cache")}
        link = folder / place
        link.parent.mkdir(parents=True, mode=0o700)
        link.symlink_to(target)
        code, said = _does_not_start(
            folder,
            f"--socket={options['socket']}",
            f"--state-dir={options['state']}",
            f"--cache-dir={options['cache']}",
        )
        assert code == Exit.CANNOT_CREATE
        assert "symbolic link" in said
        assert link.is_symlink()
        assert target.read_text() == "precious"


@pytest.mark.fault("X3")
def test_a_link_in_place_of_the_caches_file_costs_the_cache_and_nothing_else(
    tmp_path: Path,
) -> None:
    target = tmp_path / "of another"
    target.write_text("precious")
    cache = tmp_path / "cache"
    cache.mkdir(mode=0o700)
    (cache / "data.mdb").symlink_to(target)
    with serving(tmp_path / "d", arguments=[f"--cache-dir={cache}"], cached=False) as rig:
        assert rig.daemon.result("chat", prompt="a")["content"] == "to: a"
        assert rig.status()["cache"]["open"] == 0
        assert "symbolic link" in rig.daemon.log()
    assert target.read_text() == "precious"


@pytest.mark.fault("S16")
def test_folders_that_are_removed_are_noticed_and_the_cache_made_anew(tmp_path: Path) -> None:
    with serving(tmp_path) as rig, rig.client() as client:
        assert client.result("chat", prompt="before")["cached"] is False
        shutil.rmtree(tmp_path / "cache")
        shutil.rmtree(tmp_path / "state")
        until_s = time.monotonic() + 20
        while (
            rig.daemon.log().count("folder_lost") < 2
            or not (tmp_path / "cache" / "data.mdb").exists()
        ):
            assert client.result("ping") == {}
            assert time.monotonic() < until_s, rig.daemon.log()
            time.sleep(0.1)
        assert str(tmp_path / "state") in rig.daemon.log()
        while not client.result("chat", prompt="the probe: asked before")["cached"]:
            assert time.monotonic() < until_s
