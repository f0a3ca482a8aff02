"""Who may call, and who may operate: decided from the kernel's uid and gids, nothing else."""

from __future__ import annotations

import grp
import pwd
from collections.abc import Callable, Iterable

from sutlerd.domain.caller import Caller
from sutlerd.domain.record import record
from sutlerd.system.exits import CannotStart, Exit
from sutlerd.system.peers import Peer


@record
class Access:
    """The policy, all in numbers.

    ``uids`` and ``gids`` are who may call; where both are None, whoever the socket's mode
    lets in. Operators may always call.
    """

    uids: frozenset[int] | None = None
    gids: frozenset[int] | None = None
    operator_uids: frozenset[int] = frozenset({0})
    operator_gids: frozenset[int] = frozenset()

    def caller(self, peer: Peer | Caller) -> Caller | None:
        """Make a caller of a peer, or None of one who may not call.

        A caller is judged anew as the one that it was at connect.
        """
        gids = peer.groups | {peer.gid}
        operates = peer.uid in self.operator_uids or bool(gids & self.operator_gids)
        everyone = self.uids is None and self.gids is None
        listed = peer.uid in (self.uids or ()) or bool(gids & (self.gids or frozenset()))
        if not (operates or everyone or listed):
            return None
        return Caller(
            uid=peer.uid,
            gid=peer.gid,
            pid=peer.pid,
            groups=gids,
            job=peer.job,
            may_operate=operates,
        )


def access_from(
    *,
    users: Iterable[str | int] | None,
    groups: Iterable[str | int] | None,
    operator_users: Iterable[str | int],
    operator_groups: Iterable[str | int],
    own_uid: int,
) -> Access:
    """Look up names; numbers stand for themselves, whether or not a database knows them.

    Root and the daemon's own uid operate always. Raises CannotStart with every unknown name.
    """
    unknown: list[str] = []

    def numbers(
        entries: Iterable[str | int], where: str, look_up: Callable[[str | int], int]
    ) -> frozenset[int]:
        found = set()
        for entry in entries:
            try:
                found.add(look_up(entry))
            except KeyError:
                unknown.append(f"{where}: nobody is called {entry!r}")
        return frozenset(found)

    access = Access(
        uids=None if users is None else numbers(users, "access.users", uid_of),
        gids=None if groups is None else numbers(groups, "access.groups", gid_of),
        operator_uids=numbers(operator_users, "access.operators.users", uid_of) | {0, own_uid},
        operator_gids=numbers(operator_groups, "access.operators.groups", gid_of),
    )
    if unknown:
        raise CannotStart(Exit.CONFIGURATION, "; ".join(unknown))
    return access


def socket_gid(group: str | int | None) -> int | None:
    """Look up ``daemon.socket_group``. Raises CannotStart when there is no such group."""
    if group is None:
        return None
    try:
        return gid_of(group)
    except KeyError:
        raise CannotStart(
            Exit.CONFIGURATION, f"daemon.socket_group: nobody is called {group!r}"
        ) from None


def uid_of(user: str | int) -> int:
    """Give a user's number, which a name of digits already is. Raises KeyError."""
    text = str(user)
    return int(text) if text.isascii() and text.isdigit() else pwd.getpwnam(text).pw_uid


def gid_of(group: str | int) -> int:
    """Give a group's number, which a name of digits already is. Raises KeyError."""
    text = str(group)
    return int(text) if text.isascii() and text.isdigit() else grp.getgrnam(text).gr_gid
