"""Who may call and who may operate, by numbers alone."""

from __future__ import annotations

import grp
import pwd

import pytest

from sutlerd.system.access import Access, access_from, socket_gid
from sutlerd.system.exits import CannotStart, Exit
from sutlerd.system.peers import Peer

OWN = 990


def _peer(uid: int, gid: int = 500, groups: tuple[int, ...] = ()) -> Peer:
    return Peer(pid=7, uid=uid, gid=gid, groups=frozenset(groups), job="12")


def _access(
    users: list[str | int] | None = None,
    groups: list[str | int] | None = None,
    operator_users: tuple[str | int, ...] = (),
    operator_groups: tuple[str | int, ...] = (),
) -> Access:
    return access_from(
        users=users,
        groups=groups,
        operator_users=operator_users,
        operator_groups=operator_groups,
        own_uid=OWN,
    )


def test_without_lists_whoever_got_through_the_socket_may_call() -> None:
    caller = _access().caller(_peer(4_000_000_000, 77, (5, 6)))
    assert caller is not None
    assert (caller.uid, caller.gid, caller.pid, caller.job) == (4_000_000_000, 77, 7, "12")
    assert caller.groups == {5, 6, 77}
    assert not caller.may_operate


@pytest.mark.fault("X1")
def test_a_list_lets_in_the_listed_and_the_operators_only() -> None:
    access = _access(users=[1000, "1001"])
    assert access.caller(_peer(1000)) is not None
    assert access.caller(_peer(1001)) is not None
    assert access.caller(_peer(1002)) is None
    assert access.caller(_peer(OWN)) is not None
    assert access.caller(_peer(0)) is not None
    assert _access(users=[]).caller(_peer(1000)) is None


@pytest.mark.fault("X1")
def test_a_group_counts_as_the_first_one_or_a_further_one() -> None:
    access = _access(groups=["600"])
    assert access.caller(_peer(1, gid=600)) is not None
    assert access.caller(_peer(1, groups=(5, 600))) is not None
    assert access.caller(_peer(600, gid=1)) is None
    both = _access(users=[1], groups=[600])
    assert both.caller(_peer(1)) is not None
    assert both.caller(_peer(2, gid=600)) is not None


def test_operators_are_root_ourselves_and_the_listed() -> None:
    access = _access(operator_users=(1000,), operator_groups=(27,))
    operating = {
        uid: caller.may_operate
        for uid in (0, OWN, 1000, 1001)
        if (caller := access.caller(_peer(uid))) is not None
    }
    assert operating == {0: True, OWN: True, 1000: True, 1001: False}
    sudoer = access.caller(_peer(1001, groups=(27,)))
    assert sudoer is not None
    assert sudoer.may_operate


def test_names_are_looked_up_and_all_unknown_ones_are_said_at_once() -> None:
    user, group = pwd.getpwuid(0), grp.getgrgid(0)
    access = _access(users=[user.pw_name], groups=[group.gr_name])
    assert access.uids == frozenset({user.pw_uid})
    assert access.gids == frozenset({group.gr_gid})
    with pytest.raises(CannotStart) as raised:
        _access(users=["no-such-user"], operator_groups=("no-such-group", "1"))
    assert raised.value.exit_code == Exit.CONFIGURATION
    assert "access.users: nobody is called 'no-such-user'" in raised.value.message
    assert "access.operators.groups: nobody is called 'no-such-group'" in raised.value.message


def test_the_sockets_group_is_a_name_a_number_or_none() -> None:
    assert socket_gid(None) is None
    assert socket_gid("4711") == 4711
    assert socket_gid(grp.getgrgid(0).gr_name) == 0
    with pytest.raises(CannotStart, match=r"daemon\.socket_group: .*'no-such-group'") as raised:
        socket_gid("no-such-group")
    assert raised.value.exit_code == Exit.CONFIGURATION
