"""Do something as another user of this machine, which only root can arrange."""

from __future__ import annotations

import os
import pickle
import sys
import traceback
import warnings
from collections.abc import Callable
from typing import TypeVar

import pytest

#: A uid and gid that no user database knows.
OTHER_UID = 54_321

T = TypeVar("T")

needs_root = pytest.mark.skipif(
    os.geteuid() != 0, reason="LEFT OUT: only root can act as a second user; run this as root"
)


def as_user(uid: int, function: Callable[[], T], *, groups: tuple[int, ...] = ()) -> T:
    """Run ``function`` in a forked child under ``uid`` and give what it returned or raised.

    The result or error travels by pickle. The child's gid is its uid.
    """
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        # The child only computes and ends: it takes no lock another thread may hold.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        try:
            os.close(reading)
            os.setgroups(groups)
            os.setgid(uid)
            os.setuid(uid)
            try:
                outcome: tuple[bool, object] = (True, function())
            except Exception as error:  # noqa: BLE001 -- carried to the parent, which raises it
                outcome = (False, error)
            with os.fdopen(writing, "wb") as pipe:
                pipe.write(pickle.dumps(outcome))
            os._exit(0)
        except BaseException:  # noqa: BLE001 -- a forked child must never return into pytest
            traceback.print_exc(file=sys.stderr)
            os._exit(1)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        data = pipe.read()
    _, status = os.waitpid(child, 0)
    assert status == 0, f"the child under uid {uid} ended with status {status}"
    fine, value = pickle.loads(data)
    if not fine:
        raise value
    result: T = value
    return result
