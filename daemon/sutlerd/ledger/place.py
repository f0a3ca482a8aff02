"""The ledger's folder and its file: whether it can be trusted, opening it, its room to grow.

Blocking; at start, and then only on the writer's thread. A file that cannot be trusted is
left just as it is, and the daemon does not start: never is there an empty ledger in its place.

Beside the file lies ``ballast``: room on the disk that is kept for ends. A disk without room
stops reservations; the ballast is then given up, so that what is open can still be settled.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import lmdb
import orjson

from sutlerd.ledger.records import FORMAT, Damaged, seal, unseal
from sutlerd.system.exits import CannotStart, Exit
from sutlerd.system.lmdb_sound import DATA, SOUND, is_as_left, leave_sound, problem_found
from sutlerd.system.open_folder import open_folder, refuse_links

if TYPE_CHECKING:
    from lmdb import _Database

#: Named databases, of sealed values; those of the account are made by its own store.
META, OPEN, UNKNOWN, BALANCES, RECORDS = b"meta", b"open", b"unknown", b"balances", b"records"
ASKERS: Final = b"askers"
ACCOUNT: Final = (b"sums", b"rows", b"marks")
DATABASES: Final = (META, OPEN, UNKNOWN, BALANCES, RECORDS, ASKERS, *ACCOUNT)

LOCK: Final = "lock.mdb"
BALLAST: Final = "ballast"
BALLAST_BYTES: Final = 4 * 1024 * 1024
FIRST_MAP_BYTES: Final = 64 * 1024 * 1024
LARGEST_MAP_BYTES: Final = 1 << 40
_FORMAT_KEY: Final = b"format"
#: LMDB says "input/output error" of a write that was cut short because the disk is full.
_HARDLY_ANY_BYTES: Final = 1024 * 1024


@dataclass(slots=True, kw_only=True)
class Opened:
    """An open ledger file. ``identity`` is its device and inode; ``is_as_left`` says that it is
    just as a clean stop has left it."""

    env: lmdb.Environment
    databases: dict[bytes, _Database]
    identity: tuple[int, int]
    folder: Path
    is_as_left: bool


Opener = Callable[[Path], Opened]


def open_ledger(folder: Path) -> Opened:
    """Open the ledger in ``folder``, both made where missing.

    Raises ``CannotStart``: ``STORAGE`` for a file that is damaged, of a newer version, or
    cannot be read or written; ``CANNOT_CREATE`` for a folder that is not safe.
    """
    os.close(open_folder(folder, purpose="ledger", uid=os.geteuid(), private=True))
    refuse_links(folder, (DATA, LOCK, SOUND, BALLAST), uid=os.geteuid())
    try:
        if not (folder / DATA).exists():
            _make(folder)
        trusted = is_as_left(folder)
        problem = None if trusted else problem_found(folder)
        if problem is not None:
            raise _refused(folder, f"is damaged: {problem}")
        env = _environment(folder)
    except (lmdb.Error, OSError) as error:
        raise unusable(folder, error) from error
    try:
        return _begun(env, folder, trusted)
    except (lmdb.Error, OSError) as error:
        env.close()
        raise unusable(folder, error) from error
    except BaseException:
        env.close()
        raise


def close_ledger(opened: Opened, *, leave_trusted: bool) -> None:
    opened.env.close()
    if leave_trusted and is_in_place(opened):
        leave_sound(opened.folder)


def is_in_place(opened: Opened) -> bool:
    """Tell whether the file at the path is still the one that is open."""
    try:
        return _identity(opened.folder) == opened.identity
    except OSError:
        return False


def grow(opened: Opened) -> bool:
    """Make the map larger, which takes no room on the disk by itself. ``False``: it is at its
    largest."""
    size_bytes = int(opened.env.info()["map_size"])
    if size_bytes >= LARGEST_MAP_BYTES:
        return False
    opened.env.set_mapsize(size_bytes * 2)
    return True


def is_full(folder: Path, error: Exception) -> bool:
    """Tell whether a write failed because the disk, or our part of it, has no room."""
    code = error.errno if isinstance(error, OSError) else getattr(error, "code", None)
    if isinstance(error, lmdb.DiskError) or code in (errno.ENOSPC, errno.EDQUOT):
        return True
    if code != errno.EIO:
        return False
    try:
        found = os.statvfs(folder)
    except OSError:
        return False
    return found.f_bavail * found.f_frsize < _HARDLY_ANY_BYTES


def take_ballast(folder: Path) -> bool:
    """Set the ballast's room aside. ``False``: there is not so much."""
    path = folder / BALLAST
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError:
        return False
    try:
        os.posix_fallocate(descriptor, 0, BALLAST_BYTES)
    except OSError:
        with suppress(OSError):
            os.ftruncate(descriptor, 0)
        return False
    finally:
        os.close(descriptor)
    return True


def drop_ballast(folder: Path) -> bool:
    """Give the ballast's room up. ``False``: there was none."""
    try:
        had = os.stat(folder / BALLAST).st_size
        os.truncate(folder / BALLAST, 0)
    except OSError:
        return False
    return had > 0


def _make(folder: Path) -> None:
    """Make an empty ledger beside its place, and put it there whole."""
    if (folder / LOCK).exists():
        raise _refused(folder, "is gone, though its lock file is there")
    making = folder / "new"
    shutil.rmtree(making, ignore_errors=True)
    making.mkdir(mode=0o700)
    with _environment(making) as env:
        databases = {name: env.open_db(name) for name in DATABASES}
        with env.begin(write=True) as txn:
            version = orjson.dumps({"format": FORMAT})
            txn.put(_FORMAT_KEY, seal(_FORMAT_KEY, version), db=databases[META])
    os.replace(making / DATA, folder / DATA)
    shutil.rmtree(making)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    leave_sound(folder)


def _environment(folder: Path) -> lmdb.Environment:
    return lmdb.open(
        str(folder),
        map_size=_map_bytes(folder),
        mode=0o600,
        max_dbs=len(DATABASES),
        max_readers=16,
        lib_version=0,  # LMDB 0.9, also where a later one could read the file that is there
        readahead=False,
    )


def _map_bytes(folder: Path) -> int:
    try:
        used_bytes = os.stat(folder / DATA).st_size
    except FileNotFoundError:
        used_bytes = 0
    size_bytes = FIRST_MAP_BYTES
    while size_bytes < 2 * used_bytes:
        size_bytes *= 2
    return size_bytes


def _begun(env: lmdb.Environment, folder: Path, trusted: bool) -> Opened:
    """Check the format's version before anything is written."""
    meta = env.open_db(META, create=False)
    with env.begin() as txn:
        found = _format_of(folder, txn.get(_FORMAT_KEY, db=meta))
    if found > FORMAT:
        raise _refused(
            folder,
            f"is of format {found}, and this version reads up to {FORMAT}: "
            "it was written by a newer sutlerd; use that one",
        )
    databases = {name: env.open_db(name) for name in DATABASES}
    return Opened(
        env=env, databases=databases, identity=_identity(folder), folder=folder, is_as_left=trusted
    )


def _format_of(folder: Path, stored: bytes | None) -> int:
    try:
        if stored is None:
            raise Damaged("it does not say its format")
        return int(orjson.loads(unseal(_FORMAT_KEY, stored))["format"])
    except Damaged as error:
        raise _refused(folder, f"is damaged: {error}") from None


def _identity(folder: Path) -> tuple[int, int]:
    found = os.stat(folder / DATA)
    return found.st_dev, found.st_ino


def refused_as_damaged(folder: Path, error: Damaged) -> CannotStart:
    return _refused(folder, f"is damaged: {error}")


def _refused(folder: Path, what: str) -> CannotStart:
    return CannotStart(
        Exit.STORAGE,
        f"the ledger {folder / DATA} {what}. It was left as it is. Look at it with "
        "'sutlerd ledger check', and put a backup in its place with 'sutlerd ledger restore "
        "FILE'; to begin with an empty account on purpose, move the folder away",
    )


def unusable(folder: Path, error: Exception) -> CannotStart:
    if isinstance(error, (lmdb.CorruptedError, lmdb.InvalidError, lmdb.VersionMismatchError)):
        return _refused(folder, f"is damaged: {error}")
    return CannotStart(
        Exit.STORAGE,
        f"the ledger in {folder} cannot be read or written by uid {os.geteuid()}: {error}",
    )
