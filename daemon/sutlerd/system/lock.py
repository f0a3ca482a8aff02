"""Exclusion by kernel locks, which die with their owner.

The pid in a lock file is written for messages alone and never believed: after a crash it may
be anybody's. A lock is inherited by forked children until they exec, so children that live on
must be started by exec.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from pathlib import Path

from sutlerd.system.exits import CannotStart, Exit
from sutlerd.system.open_folder import UnsafeFolder, UnusableFolder

LOCK_NAME = "sutlerd.lock"

# O_NONBLOCK keeps a pipe planted at the path from holding us up.
_FILE_FLAGS = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Locked(CannotStart):
    """Another process holds the lock; ``holder_pid`` is what it wrote there, if readable."""

    def __init__(self, path: Path, protects: str, holder_pid: int | None) -> None:
        who = f"pid {holder_pid}" if holder_pid is not None else "pid unknown"
        super().__init__(
            Exit.ALREADY_RUNNING,
            f"another sutlerd ({who}) is using {protects} and holds {path}: "
            "stop that one, or give this one another place",
        )
        self.path = path
        self.holder_pid = holder_pid


class FileLock:
    """An exclusive lock that is held; made by ``lock_file`` and ``lock_folder`` only."""

    __slots__ = ("_descriptor", "_folder_descriptor", "path")

    def __init__(self, path: Path, descriptor: int, folder_descriptor: int | None) -> None:
        self.path = path
        self._descriptor = descriptor
        self._folder_descriptor = folder_descriptor

    def still_there(self) -> bool:
        """Say whether the path still leads to the file that is locked."""
        return _same_file(self._descriptor, self.path)

    def keep_fresh(self) -> None:
        """Renew the file's time stamps, so that no cleaner of ``/tmp`` takes it for an old one."""
        os.utime(self._descriptor)

    def release(self, *, remove: bool = False) -> None:
        """Let go; ``remove`` takes the file away too. Harmless when done twice."""
        if self._descriptor < 0:
            return
        if remove and self.still_there():
            os.unlink(self.path)  # still locked, so no one can hold a new one by now
        os.close(self._descriptor)
        self._descriptor = -1
        if self._folder_descriptor is not None:
            os.close(self._folder_descriptor)
            self._folder_descriptor = None


def lock_folder(folder: Path, *, uid: int) -> FileLock:
    """Take ``folder`` for this process alone. Raises Locked, UnsafeFolder or UnusableFolder.

    The folder itself is locked too, shared: that is the sign by which systemd-tmpfiles, which
    empties ``/tmp`` by age, leaves alone what is below it.
    """
    lock = lock_file(folder / LOCK_NAME, protects=str(folder), uid=uid)
    descriptor = os.open(folder, _FOLDER_FLAGS)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        # A cleaner is at work in it this moment; what excludes other daemons is the file.
        os.close(descriptor)
        return lock
    return FileLock(lock.path, lock._descriptor, descriptor)


def lock_file(path: Path, *, protects: str, uid: int) -> FileLock:
    """Lock ``path``, made where it is missing, or say who holds it.

    ``protects`` names what the lock is for, for the message. Raises Locked, UnsafeFolder
    where something else than a plain file of ours is at the path, else UnusableFolder.
    """
    while True:
        descriptor = _open(path)
        try:
            _check(os.fstat(descriptor), path, uid)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = _written_pid(descriptor)
            os.close(descriptor)
            raise Locked(path, protects, holder) from None
        except OSError as error:
            os.close(descriptor)
            raise UnusableFolder(f"{path} cannot be locked: {error.strerror}") from None
        except CannotStart:
            os.close(descriptor)
            raise
        if _same_file(descriptor, path):
            break
        os.close(descriptor)  # its last holder removed it between our open and our lock
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, b"%d\n" % os.getpid(), 0)
    except OSError:
        pass  # a full disk takes only the pid from a message
    return FileLock(path, descriptor, None)


def _open(path: Path) -> int:
    try:
        return os.open(path, _FILE_FLAGS, 0o600)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise UnsafeFolder(
                f"{path} is a symbolic link, which is never followed: remove it"
            ) from None
        raise UnusableFolder(f"{path} cannot be opened: {error.strerror}") from None


def _check(found: os.stat_result, path: Path, uid: int) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise UnsafeFolder(f"{path} is not a plain file: move it away")
    if found.st_uid != uid:
        raise UnsafeFolder(f"{path} is owned by uid {found.st_uid}, not by uid {uid}: remove it")
    if found.st_nlink > 1:
        raise UnsafeFolder(f"{path} is a second name of another file: remove it")


def _same_file(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.lstat(path))
    except OSError:
        return False


def _written_pid(descriptor: int) -> int | None:
    text = os.pread(descriptor, 32, 0).strip()
    return int(text) if text.isdigit() else None
