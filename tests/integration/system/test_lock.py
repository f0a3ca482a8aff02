"""One owner per folder, by a lock that the kernel takes back when its owner dies."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sutlerd.system.exits import Exit
from sutlerd.system.lock import LOCK_NAME, Locked, lock_file, lock_folder
from sutlerd.system.open_folder import UnsafeFolder, UnusableFolder

UID = os.geteuid()

HOLD = """
import os, sys
from pathlib import Path
from sutlerd.system.lock import Locked, lock_folder
try:
    lock = lock_folder(Path(sys.argv[1]), uid=os.geteuid())
except Locked as locked:
    print("refused", locked.holder_pid, flush=True)
    sys.exit(locked.exit_code)
print("held", os.getpid(), flush=True)
sys.stdin.read()
"""


def _holder(folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def _said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


@pytest.mark.fault("S12")
def test_a_held_folder_is_refused_with_the_holders_pid(tmp_path: Path) -> None:
    with _holder(tmp_path) as holder:
        assert _said(holder) == f"held {holder.pid}"
        with pytest.raises(Locked, match=f"pid {holder.pid}.*{tmp_path}") as raised:
            lock_folder(tmp_path, uid=UID)
        assert raised.value.holder_pid == holder.pid
        assert raised.value.exit_code == Exit.ALREADY_RUNNING
        holder.communicate()
    lock_folder(tmp_path, uid=UID).release()


@pytest.mark.fault("S12")
def test_of_many_in_the_same_moment_exactly_one_gets_it(tmp_path: Path) -> None:
    processes = [_holder(tmp_path) for _ in range(6)]
    said = [_said(process) for process in processes]
    assert sorted(word.split()[0] for word in said) == ["held", *["refused"] * 5]
    for process in processes:
        process.communicate()
    assert sorted(process.returncode for process in processes) == [0, *[Exit.ALREADY_RUNNING] * 5]


@pytest.mark.fault("S9")
def test_a_lock_left_by_a_killed_owner_is_free_whoever_has_its_pid_now(tmp_path: Path) -> None:
    with _holder(tmp_path) as holder:
        _said(holder)
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    assert (tmp_path / LOCK_NAME).read_text() == f"{holder.pid}\n"
    # A pid file that names a live process, which is not a daemon at all.
    (tmp_path / LOCK_NAME).write_text(f"{os.getppid()}\n")
    lock = lock_folder(tmp_path, uid=UID)
    assert (tmp_path / LOCK_NAME).read_text() == f"{os.getpid()}\n"
    lock.release()
    lock.release()


@pytest.mark.fault("X3")
def test_a_link_at_the_lock_is_never_followed(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("precious")
    (tmp_path / LOCK_NAME).symlink_to(target)
    with pytest.raises(UnsafeFolder, match="symbolic link"):
        lock_folder(tmp_path, uid=UID)
    (tmp_path / LOCK_NAME).unlink()
    os.link(target, tmp_path / LOCK_NAME)
    with pytest.raises(UnsafeFolder, match="second name"):
        lock_folder(tmp_path, uid=UID)
    assert target.read_text() == "precious"


def test_what_is_no_file_of_ours_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UnsafeFolder, match="not a plain file"):
        lock_file(tmp_path / "pipe", protects="x", uid=UID)
    with pytest.raises(UnusableFolder, match="Is a directory"):
        lock_file(tmp_path, protects="x", uid=UID)
    (tmp_path / "file").touch()
    with pytest.raises(UnsafeFolder, match=f"owned by uid {UID}, not by uid {UID + 1}"):
        lock_file(tmp_path / "file", protects="x", uid=UID + 1)


def test_an_unreadable_pid_is_said_to_be_unknown(tmp_path: Path) -> None:
    lock = lock_file(tmp_path / "a", protects="x", uid=UID)
    (tmp_path / "a").write_text("not a number")
    with pytest.raises(Locked, match="pid unknown") as raised:
        lock_file(tmp_path / "a", protects="x", uid=UID)
    assert raised.value.holder_pid is None
    lock.release()


def test_a_removed_lock_file_is_noticed_and_another_ones_is_not_removed(tmp_path: Path) -> None:
    lock = lock_file(tmp_path / "a", protects="x", uid=UID)
    assert lock.still_there()
    (tmp_path / "a").unlink()
    (tmp_path / "a").touch()
    assert not lock.still_there()
    lock.release(remove=True)
    assert (tmp_path / "a").exists()
    second = lock_file(tmp_path / "a", protects="x", uid=UID)
    second.release(remove=True)
    assert not (tmp_path / "a").exists()


def test_a_locked_folder_is_marked_for_cleaners_and_they_do_not_stop_us(tmp_path: Path) -> None:
    cleaner = os.open(tmp_path, os.O_RDONLY)
    lock = lock_folder(tmp_path, uid=UID)
    with pytest.raises(BlockingIOError):
        fcntl.flock(cleaner, fcntl.LOCK_EX | fcntl.LOCK_NB)
    lock.release()
    fcntl.flock(cleaner, fcntl.LOCK_EX | fcntl.LOCK_NB)
    lock_folder(tmp_path, uid=UID).release()
    os.close(cleaner)
