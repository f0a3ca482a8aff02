"""Reach a Unix socket by a path longer than the kernel's 107 bytes.

``bind`` and ``connect`` take at most 107 bytes; a longer path is reached through the open
descriptor of its folder, as ``/proc/self/fd/N/name``. Bytes count, not characters.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from sutler.wire import MAX_SOCKET_PATH_BYTES
from sutlerd.system.open_folder import UnusableFolder


def reachable(path: Path, folder_descriptor: int) -> str:
    """Give a name for ``path`` that bind and connect take, as long as the descriptor is open.

    Raises UnusableFolder, with the length and the limit, where there is none.
    """
    length_bytes = len(os.fsencode(path))
    if length_bytes <= MAX_SOCKET_PATH_BYTES:
        return str(path)
    through = f"/proc/self/fd/{folder_descriptor}/{path.name}"
    if len(os.fsencode(through)) > MAX_SOCKET_PATH_BYTES or not os.path.isdir("/proc/self/fd"):
        raise UnusableFolder(
            f"the socket path {path} has {length_bytes} bytes, the limit is "
            f"{MAX_SOCKET_PATH_BYTES}, and it cannot be reached through /proc/self/fd either: "
            "give a shorter one with --socket"
        )
    return through


def closed_folder_warning(path: Path, mode: int) -> str | None:
    """Say so if the socket's mode lets others in, but its folder's does not."""
    folder_mode = stat.S_IMODE(path.parent.stat().st_mode)
    if not mode & 0o066 or folder_mode & 0o011:
        return None
    return (
        f"the socket {path} has mode {mode:04o}, but nobody else can enter its folder "
        f"(mode {folder_mode:04o}): chmod it, or put the socket elsewhere with --socket"
    )
