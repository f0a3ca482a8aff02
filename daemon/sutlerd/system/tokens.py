"""Tokens that stand for a user where the kernel cannot say who asks: over TCP.

One a user. Only their hashes are kept, in one small file of the state folder; a token itself
is told once, to who had it made. A stolen file lets nobody in.
"""

from __future__ import annotations

import grp
import hashlib
import hmac
import json
import os
import pwd
import secrets
from collections.abc import Callable
from pathlib import Path

from sutlerd.domain.caller import Caller
from sutlerd.system.access import Access
from sutlerd.system.exits import CannotStart, Exit
from sutlerd.system.peers import Peer

FILE_NAME = "tokens.json"
PREFIX = "sutler-"
_SECRET_BYTES = 32
_MAX_TOKEN_CHARS = 200
_MAX_FILE_BYTES = 16 * 1024 * 1024


class TokenBook:
    """Whose token is whose. ``save`` and ``load`` touch the disk, nothing else does.

    ``access`` gives the policy that holds now.
    """

    def __init__(self, folder: Path, access: Callable[[], Access]) -> None:
        self._path = folder / FILE_NAME
        self._access = access
        self._hashes: dict[int, bytes] = {}
        self._users: dict[int, Peer] = {}

    def load(self) -> None:
        """Read the file, if there is one. Raises ``CannotStart`` for one that is damaged."""
        try:
            with self._path.open("rb") as file:
                found = json.loads(file.read(_MAX_FILE_BYTES))
            hashes = {int(uid): bytes.fromhex(text) for uid, text in found["sha256"].items()}
        except FileNotFoundError:
            return
        except OSError as error:
            raise CannotStart(
                Exit.CONFIGURATION, f"{self._path} cannot be read: {error.strerror}"
            ) from None
        except (ValueError, KeyError, AttributeError, TypeError):
            raise CannotStart(
                Exit.CONFIGURATION,
                f"{self._path} is damaged: remove it, and have new tokens made (sutler token)",
            ) from None
        self._hashes = hashes

    def make(self, uid: int) -> str:
        """Make a user's token; one made before is no longer good. Save after this."""
        token = PREFIX + secrets.token_urlsafe(_SECRET_BYTES)
        self._hashes[uid] = _hash(token)
        return token

    def revoke(self, uid: int) -> bool:
        """Forget a user's token; false if there is none. Save after this."""
        return self._hashes.pop(uid, None) is not None

    def save(self) -> None:
        """Write the file whole, durably, readable by nobody else. Raises ``OSError``."""
        text = json.dumps({"sha256": {str(uid): h.hex() for uid, h in self._hashes.items()}})
        fresh = self._path.with_name(f".{FILE_NAME}.{os.getpid()}")
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self._path)

    def caller_of(self, token: str) -> Caller | None:
        """Give whose token this is; ``None`` for nobody's, or for who may not call.

        Every hash is compared, in constant time: how long it takes tells nothing.
        """
        if len(token) > _MAX_TOKEN_CHARS:
            return None
        given, owner = _hash(token), None
        for uid, known in self._hashes.items():
            if hmac.compare_digest(given, known):
                owner = uid
        return None if owner is None else self._caller(owner)

    def _caller(self, uid: int) -> Caller | None:
        user = self._users.get(uid)
        if user is None:
            user = self._users[uid] = _user(uid)
        return self._access().caller(user)


def _user(uid: int) -> Peer:
    """Look a user up as the kernel would have named it; a uid nobody knows is still a uid."""
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        return Peer(pid=0, uid=uid, gid=uid, groups=frozenset(), job=None)
    members = (group.gr_gid for group in grp.getgrall() if entry.pw_name in group.gr_mem)
    groups = frozenset([entry.pw_gid, *members])
    return Peer(pid=0, uid=uid, gid=entry.pw_gid, groups=groups, job=None)


def _hash(token: str) -> bytes:
    # The token has 256 bits of chance: a slow hash would protect nothing more.
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
