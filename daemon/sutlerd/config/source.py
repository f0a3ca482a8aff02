"""The file itself: read once, whole, and only if nobody else can have written it."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

from sutlerd.domain.record import record


@record
class FileRead:
    """The first bytes of a file and what its inode says of who may touch it."""

    data: bytes
    owner_uid: int
    mode: int


#: Reads at most so many bytes; raises ``OSError``.
ReadFile = Callable[[Path, int], FileRead]


def read_file(path: Path, limit_bytes: int) -> FileRead:
    """Read the beginning of a regular file. Raises ``OSError``, also for anything else.

    What is judged is what was opened: not the path again, which might have changed.
    """
    # Without O_NONBLOCK, opening a pipe that nobody writes to would never return.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    facts = os.fstat(descriptor)
    if not stat.S_ISREG(facts.st_mode):
        os.close(descriptor)
        raise OSError(0, "is not a regular file")
    with open(descriptor, "rb") as file:
        data = file.read(limit_bytes)
    return FileRead(data=data, owner_uid=facts.st_uid, mode=stat.S_IMODE(facts.st_mode))


def read_secret(path: str, limit_bytes: int) -> bytes:
    """Read a small file that holds a secret. Raises ``OSError``."""
    found = read_file(Path(path), limit_bytes + 1)
    if len(found.data) > limit_bytes:
        raise OSError(0, f"is over {limit_bytes} bytes")
    if why := writable_by_others(found, os.geteuid()):
        raise OSError(0, why)
    return found.data


def writable_by_others(found: FileRead, own_uid: int) -> str | None:
    """Say who else may have written a file; ``None`` if only root and ourselves can."""
    if found.owner_uid not in (0, own_uid):
        return (
            f"belongs to uid {found.owner_uid}, who could change it; "
            f"it must belong to root or to the daemon's own uid {own_uid}"
        )
    if found.mode & 0o022:
        return (
            f"can be written by others (mode {found.mode:04o}), who could change it; "
            "take that away with chmod go-w"
        )
    return None


def readable_by_others(found: FileRead) -> bool:
    return bool(found.mode & 0o004)
