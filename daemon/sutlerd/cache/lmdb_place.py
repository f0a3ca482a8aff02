"""The folder of the cache's database: who holds it, whether it can be trusted, opening it.

Blocking, and only for the writer's thread. The folder holds

- ``data.mdb`` and ``lock.mdb``, LMDB's own;
- ``held``, whose kernel lock keeps a second process away and dies with its holder;
- ``sound.json``, written at a clean stop: the file as it was left, and in which boot;
- ``data.mdb.unusable``, the last file that could not be used, until the next sound start.

A file is trusted as it is only if it is just as a clean stop has left it in this same boot:
that is one ``stat``, and the ordinary start. The cache is written without fsync, so after a
reboot, and also after a kill, a child process walks the file first (``system.lmdb_check``).
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import lmdb

from sutlerd.cache.lmdb_index import DATABASES, Index, NotOurs
from sutlerd.system.lmdb_sound import DATA, SOUND, is_as_left, problem_found
from sutlerd.system.lmdb_sound import leave_sound as mark_sound
from sutlerd.system.open_folder import FolderRefused, open_folder, refuse_links

LOCK = "lock.mdb"
HELD = "held"
UNUSABLE = "data.mdb.unusable"

#: LMDB's own finding that a file is damaged, or not an LMDB file of this format.
DAMAGE = (
    lmdb.CorruptedError,
    lmdb.InvalidError,
    lmdb.PageNotFoundError,
    lmdb.VersionMismatchError,
    lmdb.IncompatibleError,
    lmdb.BadDbiError,
)


class PlaceRefused(OSError):
    """The folder cannot be used now: not ours, not safe, or another process holds it."""


@dataclass(slots=True, kw_only=True)
class Opened:
    """An open environment. ``made_anew`` says why an older file was set aside, if one was."""

    env: lmdb.Environment
    index: Index
    identity: tuple[int, ...]
    made_anew: str | None
    held: int


Opener = Callable[[Path, int, str | None], Opened]


def open_place(folder: Path, map_bytes: int, discard: str | None) -> Opened:
    """Open the database in ``folder``, both made where missing.

    ``discard`` is a reason known beforehand not to use the file that is there. Raises
    OSError (PlaceRefused among them) and lmdb.Error where the folder is of no use for now.
    """
    held = _hold(folder)
    try:
        reason = discard or _reason_against(folder)
        if reason is not None:
            _set_aside(folder)
        elif _size_bytes(folder) > map_bytes:
            reason = _shrink(folder, map_bytes)
        try:
            return _open(folder, map_bytes, reason, held)
        except (*DAMAGE, NotOurs) as error:
            if reason is not None:
                raise PlaceRefused(f"a new file is of no use either: {error}") from error
            _set_aside(folder)
            return _open(folder, map_bytes, str(error), held)
    except BaseException:
        os.close(held)
        raise


def close_place(opened: Opened, folder: Path, *, leave_sound: bool) -> None:
    """Close the environment; ``leave_sound`` notes that the next start may trust the file."""
    opened.env.close()
    if leave_sound and identity_of(folder) == opened.identity:
        mark_sound(folder)
    os.close(opened.held)


def identity_of(folder: Path) -> tuple[int, ...]:
    """Name the files at this place; ``()`` while one of them is missing."""
    try:
        found = [os.stat(folder / name) for name in (DATA, LOCK, HELD)]
    except OSError:
        return ()
    return tuple(number for each in found for number in (each.st_dev, each.st_ino))


def _hold(folder: Path) -> int:
    """Take the folder's lock; it is let go by closing the descriptor."""
    try:
        os.close(open_folder(folder, purpose="cache", uid=os.geteuid()))
        refuse_links(folder, (DATA, LOCK, HELD, SOUND, UNUSABLE), uid=os.geteuid())
    except FolderRefused as refusal:
        raise PlaceRefused(refusal.message) from refusal
    held = os.open(folder / HELD, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(held)
        raise PlaceRefused(f"another process uses the cache in {folder}") from None
    return held


def _size_bytes(folder: Path) -> int:
    try:
        return os.stat(folder / DATA).st_size
    except FileNotFoundError:
        return 0


def _reason_against(folder: Path) -> str | None:
    """Say why the file at hand must not be opened, ``None`` if it may."""
    if _size_bytes(folder) == 0:
        return None
    if is_as_left(folder):
        with suppress(OSError):
            os.unlink(folder / UNUSABLE)
        return None
    return problem_found(folder)


def _set_aside(folder: Path) -> None:
    with suppress(FileNotFoundError):
        os.replace(folder / DATA, folder / UNUSABLE)
    for name in (LOCK, SOUND):
        with suppress(FileNotFoundError):
            os.unlink(folder / name)


def _shrink(folder: Path, map_bytes: int) -> str | None:
    """Bring a file below a bound that has been lowered; LMDB itself never gives pages back.

    The most recently used entries stay. Gives why the file was discarded instead, if it was.
    """
    smaller = folder / "smaller"
    try:
        shutil.rmtree(smaller, ignore_errors=True)
        smaller.mkdir(mode=0o700)
        env = _environment(folder, _size_bytes(folder) * 2)
        try:
            index = Index(env, map_bytes=map_bytes)
            fits = False
            while not fits:
                with env.begin(write=True) as txn:
                    index.load(txn)
                    fits = index.keep_within_bound(txn, _no_hit)
                    index.scopes.seal(txn)
            env.copy(str(smaller), compact=True)
        finally:
            env.close()
        os.replace(smaller / DATA, folder / DATA)
        return None
    except (lmdb.Error, OSError) as error:
        _set_aside(folder)
        return f"it could not be brought below its new bound: {error}"
    finally:
        shutil.rmtree(smaller, ignore_errors=True)


def _no_hit(key: bytes) -> None:
    return None


def _open(folder: Path, map_bytes: int, made_anew: str | None, held: int) -> Opened:
    env = _environment(folder, map_bytes)
    try:
        env.reader_check()
        index = Index(env, map_bytes=map_bytes)
        with env.begin(write=True) as txn:
            index.start(txn)
    except BaseException:
        env.close()
        raise
    return Opened(
        env=env, index=index, identity=identity_of(folder), made_anew=made_anew, held=held
    )


def _environment(folder: Path, map_bytes: int) -> lmdb.Environment:
    return lmdb.open(
        str(folder),
        map_size=map_bytes,
        mode=0o600,
        max_dbs=len(DATABASES),
        max_readers=16,
        max_spare_txns=2,
        lib_version=0,  # LMDB 0.9, also where a later one could read the file that is there
        # The cache may be thrown away: a commit is in the page cache, and that survives us.
        sync=False,
        metasync=False,
        # Entries are small and asked for at random.
        readahead=False,
    )
