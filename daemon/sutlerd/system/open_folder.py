"""Open a folder of ours without following anything, and refuse one that others could change.

Whoever may write to a folder may replace what is in it, so the owner and the mode are
checked on the open descriptor, before any file in it is touched. What is found wrong is
not repaired: the message names the path, its owner and the remedy.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path

from sutlerd.system.exits import CannotStart, Exit

_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_OTHERS_MAY_WRITE = stat.S_IWGRP | stat.S_IWOTH


class FolderRefused(CannotStart):
    """A folder cannot be used; the message names it, its owner and the remedy."""

    def __init__(self, message: str) -> None:
        super().__init__(Exit.CANNOT_CREATE, message)


class UnsafeFolder(FolderRefused):
    """It exists, but is a link, not a folder, another's, or open to others' writing."""


class UnusableFolder(FolderRefused):
    """It is not there and cannot be made, or cannot be opened, or is on a network."""


def open_folder(
    path: Path, *, purpose: str, uid: int, sticky_is_safe: bool = False, private: bool = False
) -> int:
    """Open ``path``, made with mode 0700 where it is missing, and give its descriptor.

    Missing parents are made too, under the nearest one that is there, which must belong to
    us or to root and, where everyone may write, must be sticky. ``sticky_is_safe`` accepts
    folders such as ``/tmp`` themselves: of root, open to all, sticky. ``private`` takes from
    a folder of ours what others may do in it, down to mode 0700. ``purpose`` is the word for
    messages, as in "state folder". Raises UnsafeFolder or UnusableFolder.
    """
    path = Path(os.path.abspath(path))
    descriptor = _try_open(path, purpose)
    if descriptor is None:
        _make(path, purpose, uid)
        descriptor = _try_open(path, purpose)
        if descriptor is None:
            raise UnusableFolder(f"the {purpose} folder {path} vanished while it was made")
    try:
        found = os.fstat(descriptor)
        _check(found, path, purpose, uid, sticky_is_safe)
        if private and stat.S_IMODE(found.st_mode) != 0o700:
            os.fchmod(descriptor, 0o700)
    except (FolderRefused, OSError):
        os.close(descriptor)
        raise
    return descriptor


def refuse_links(folder: Path, names: Sequence[str], *, uid: int) -> None:
    """Make sure that each of ``names``, where it exists, is a plain file of ours.

    For files that a library opens by path and would follow a link to. Raises UnsafeFolder.
    """
    for name in names:
        path = folder / name
        try:
            found = os.lstat(path)
        except FileNotFoundError:
            continue
        if stat.S_ISLNK(found.st_mode):
            raise UnsafeFolder(
                f"{path} is a symbolic link (to {os.readlink(path)}), which is never followed: "
                "remove it, or give another folder"
            )
        if not stat.S_ISREG(found.st_mode):
            raise UnsafeFolder(f"{path} is not a file: move it away, or give another folder")
        if found.st_uid != uid:
            raise UnsafeFolder(
                f"{path} is owned by uid {found.st_uid}, not by uid {uid}: "
                "remove it, or give another folder"
            )


def _try_open(path: Path, purpose: str) -> int | None:
    try:
        return os.open(path, _FOLDER_FLAGS)
    except FileNotFoundError:
        return None
    except OSError as error:
        # O_DIRECTORY with O_NOFOLLOW gives ENOTDIR for a link and ELOOP on some kernels.
        target = _link_target(path)
        if target is not None:
            raise UnsafeFolder(
                f"the {purpose} folder {path} is a symbolic link (to {target}), which is never "
                "followed: give the folder that it leads to"
            ) from None
        if isinstance(error, NotADirectoryError):
            raise UnsafeFolder(
                f"the {purpose} folder {path} is not a folder, or something above it is not: "
                "move it away, or give another path"
            ) from None
        raise UnusableFolder(
            f"the {purpose} folder {path} cannot be opened: {error.strerror}; give another one"
        ) from None


def _link_target(path: Path) -> str | None:
    try:
        return os.readlink(path)
    except OSError:
        return None  # no link, or not ours to see


def _make(path: Path, purpose: str, uid: int) -> None:
    missing = [path]
    while not missing[-1].parent.exists():
        missing.append(missing[-1].parent)
    parent = missing[-1].parent
    found = parent.stat()
    if found.st_uid not in (uid, 0):
        raise UnusableFolder(
            f"the {purpose} folder {path} is not there, and {parent}, where it would be made, "
            f"is owned by uid {found.st_uid}, not by uid {uid}: make it by hand, or give another"
        )
    if found.st_mode & stat.S_IWOTH and not found.st_mode & stat.S_ISVTX:
        raise UnusableFolder(
            f"the {purpose} folder {path} is not there, and everyone may write to {parent} "
            "(not sticky), where it would be made: give another folder"
        )
    for folder in reversed(missing):
        try:
            folder.mkdir(mode=0o700)
        except FileExistsError:
            continue  # another process was quicker; what it made is checked when it is opened
        except OSError as error:
            raise UnusableFolder(
                f"the {purpose} folder {path} cannot be made: {folder}: {error.strerror}; "
                "make it by hand, or give another"
            ) from None


def _check(found: os.stat_result, path: Path, purpose: str, uid: int, sticky_is_safe: bool) -> None:
    mode = stat.S_IMODE(found.st_mode)
    if sticky_is_safe and found.st_uid == 0 and mode & stat.S_ISVTX:
        return
    if found.st_uid != uid:
        raise UnsafeFolder(
            f"the {purpose} folder {path} is owned by uid {found.st_uid} (mode {mode:04o}), "
            f"not by uid {uid}: chown it, or give another folder"
        )
    if mode & _OTHERS_MAY_WRITE:
        raise UnsafeFolder(
            f"others may write to the {purpose} folder {path} (owner uid {found.st_uid}, mode "
            f"{mode:04o}) and replace what is in it: chmod go-w {path}, or give another folder"
        )
