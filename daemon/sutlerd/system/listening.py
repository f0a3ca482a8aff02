"""The daemon's own listening socket: bound safely, and bound anew when its file is gone.

A socket appears at its path whole: bound under a temporary name in the same folder, given its
mode and group, listening, and only then renamed into place. A live socket is never touched,
nor anything that is not a socket; a stale one is replaced by the rename. A lock file beside it
keeps two daemons from judging the same stale socket at once.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
from pathlib import Path

from sutlerd.domain.record import record
from sutlerd.system.exits import CannotStart, Exit
from sutlerd.system.lock import FileLock, lock_file
from sutlerd.system.open_folder import UnsafeFolder, UnusableFolder, open_folder
from sutlerd.system.peers import peer_pid
from sutlerd.system.socket_path import reachable

BACKLOG = 4096


class SocketInUse(CannotStart):
    """A live process listens at the path; ``holder_pid`` is who called ``listen`` there."""

    def __init__(self, path: Path, holder_pid: int | None) -> None:
        who = f"pid {holder_pid}" if holder_pid else "pid unknown"
        super().__init__(
            Exit.ALREADY_RUNNING,
            f"another process ({who}) is listening on {path}: "
            "stop that one, or give another path with --socket",
        )
        self.path = path
        self.holder_pid = holder_pid


@record
class SocketAccess:
    """Who may open the socket: its mode, and the group it is given to (None: our own)."""

    mode: int = 0o600
    gid: int | None = None


@record
class Listener:
    """A listening socket, non-blocking.

    ``path`` is where clients find it, or how an inherited one calls itself. ``inode`` is
    (device, number) of the socket file; None where the service manager owns the file.
    """

    socket: socket.socket
    path: str
    inode: tuple[int, int] | None = None
    access: SocketAccess = SocketAccess()
    lock: FileLock | None = None

    @property
    def is_ours(self) -> bool:
        """Whether the socket's file is ours to bind anew and to remove."""
        return self.inode is not None

    def still_there(self) -> bool:
        """Say whether the path still leads here; always true for an inherited socket.

        Looking also renews the time stamps of the file and its lock, so that no cleaner of
        ``/tmp`` takes an idle daemon's socket for an old one.
        """
        if self.inode is None:
            return True
        try:
            found = os.lstat(self.path)
            if (found.st_dev, found.st_ino) != self.inode:
                return False
            os.utime(self.path, follow_symlinks=False)
            if self.lock is not None:
                self.lock.keep_fresh()
        except OSError:
            return False
        return True

    def unlink(self) -> None:
        """Remove the socket's file, unless it is another's by now: nobody finds us any more."""
        if self.is_ours and self.still_there():
            os.unlink(self.path)

    def close(self) -> None:
        """Stop listening and remove the socket's file, unless it is another's by now."""
        self.unlink()
        self.socket.close()
        if self.lock is not None:
            self.lock.release(remove=True)


def listen(path: Path, access: SocketAccess, *, uid: int, backlog: int = BACKLOG) -> Listener:
    """Bind and listen at ``path``, whose folder is made and checked.

    Raises SocketInUse or lock.Locked when another daemon is there, UnsafeFolder when
    something is at the path that is not ours to replace, else UnusableFolder.
    """
    path = Path(os.path.abspath(path))
    folder = open_folder(path.parent, purpose="socket", uid=uid, sticky_is_safe=True)
    try:
        lock = lock_file(path.with_name(f"{path.name}.lock"), protects=str(path), uid=uid)
        try:
            return _listen(path, folder, access, lock, backlog)
        except BaseException:
            lock.release(remove=True)
            raise
    finally:
        os.close(folder)


def listen_again(lost: Listener, *, uid: int, backlog: int = BACKLOG) -> Listener:
    """Bind anew a socket whose file was removed or replaced; raises what ``listen`` does.

    The old socket stays open, and should be read until its backlog is empty and then closed
    by ``lost.socket.close()``. When this raises, ``lost`` is as it was and can be tried again.
    """
    if lost.lock is None:
        raise ValueError("an inherited socket is bound by the service manager alone")
    path = Path(lost.path)
    if not lost.lock.still_there():
        fresh = listen(path, lost.access, uid=uid, backlog=backlog)
        lost.lock.release()
        return fresh
    folder = open_folder(path.parent, purpose="socket", uid=uid, sticky_is_safe=True)
    try:
        return _listen(path, folder, lost.access, lost.lock, backlog)
    finally:
        os.close(folder)


def somaxconn_warning(backlog: int = BACKLOG) -> str | None:
    """Say so if the kernel shortens the backlog."""
    try:
        limit = int(Path("/proc/sys/net/core/somaxconn").read_text())
    except (OSError, ValueError):
        return None
    if limit >= backlog:
        return None
    return (
        f"net.core.somaxconn is {limit}: at most so many clients wait while none is accepted, "
        f"instead of {backlog}; raise it by sysctl on nodes with many ranks"
    )


def _listen(
    path: Path, folder: int, access: SocketAccess, lock: FileLock, backlog: int
) -> Listener:
    reachable(path, folder)  # or say at once that no client could get there
    _refuse_to_replace(path, folder)
    temporary = f".sutler-{os.getpid()}-{os.urandom(4).hex()}"
    doing = "bind"
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        # The daemon's mask is the same; here it closes the moment between bind and chmod.
        previous = os.umask(0o077)
        try:
            sock.bind(reachable(path.with_name(temporary), folder))
        finally:
            os.umask(previous)
        if access.gid is not None:
            doing = f"give it to the group {access.gid}"
            os.chown(temporary, -1, access.gid, dir_fd=folder, follow_symlinks=False)
        doing = "listen"
        os.chmod(temporary, access.mode, dir_fd=folder)
        sock.listen(backlog)
        sock.setblocking(False)
        bound = os.stat(temporary, dir_fd=folder, follow_symlinks=False)
        doing = "put it in place"
        os.rename(temporary, path.name, src_dir_fd=folder, dst_dir_fd=folder)
    except OSError as error:
        sock.close()
        _remove(temporary, folder)
        raise UnusableFolder(f"the socket {path}: cannot {doing}: {error.strerror}") from None
    except CannotStart:
        sock.close()
        raise
    inode = (bound.st_dev, bound.st_ino)
    return Listener(socket=sock, path=str(path), inode=inode, access=access, lock=lock)


def _remove(name: str, folder: int) -> None:
    try:
        os.unlink(name, dir_fd=folder)
    except OSError:
        pass  # never got that far


def _refuse_to_replace(path: Path, folder: int) -> None:
    """Return if nothing, or a stale socket, is at ``path``."""
    try:
        found = os.stat(path.name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return
    except OSError as error:
        raise UnusableFolder(f"{path} cannot be looked at: {error.strerror}") from None
    if stat.S_ISLNK(found.st_mode):
        raise UnsafeFolder(
            f"{path} is a symbolic link, which is never followed: remove it, "
            "or give another path with --socket"
        )
    if not stat.S_ISSOCK(found.st_mode):
        raise UnsafeFolder(
            f"{path} is there and is not a socket: move it away, or give another with --socket"
        )
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        # A full backlog would hold us up, and is as alive as any.
        probe.setblocking(False)
        try:
            probe.connect(reachable(path, folder))
        except (ConnectionRefusedError, FileNotFoundError):
            return
        except OSError as error:
            if error.errno == errno.EPROTOTYPE:
                raise UnsafeFolder(
                    f"{path} is a socket of another type: move it away, or give another path"
                ) from None
            raise SocketInUse(path, None) from None
        raise SocketInUse(path, peer_pid(probe))
