"""One thread of a process opens a client's connection; the others wait for it."""

import os
from _thread import allocate_lock
from time import monotonic

from sutler.dial import connect, locate, not_accepting
from sutler.errors import ConnectionLost
from sutler.link import Link

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sutler.ask import Home

#: Who waits for another thread's attempt looks this often whether it is still at it.
_LOOK_S = 0.25


def open_link(home: "Home", deadline_s: float) -> Link:
    """Give the connection of this process, opened if there is none that is usable.

    Raises DaemonUnavailable, AccessDenied; ConnectionLost if the client was closed.
    """
    mine, began_s = None, monotonic()
    try:
        while mine is None:
            with home.lock:
                if home.closed:
                    raise ConnectionLost("the client was closed", retryable=False)
                if home.link is not None and home.link.usable:
                    return home.link
                other = home.opening
                if other is None:
                    mine = home.opening = allocate_lock()
                    mine.acquire(False)
            if other is not None:
                remaining_s = deadline_s - monotonic()
                if remaining_s <= 0:
                    raise not_accepting(_path(home), monotonic() - began_s)
                if other.acquire(True, min(remaining_s, _LOOK_S)):
                    other.release()
        return _opened(home, deadline_s)
    finally:
        if mine is not None:
            with home.lock:
                if home.opening is mine:
                    home.opening = None
            if mine.locked():
                mine.release()


def _opened(home: "Home", deadline_s: float) -> Link:
    remaining_s = max(0.0, deadline_s - monotonic())
    connected = connect(_path(home), home.settings.trusted_uids, remaining_s)
    try:
        link = Link(connected)
        with home.lock:
            if home.closed:
                raise ConnectionLost("the client was closed", retryable=False)
            home.link = link
    except BaseException:
        connected.close()
        raise
    return link


def _path(home: "Home") -> str:
    return locate(home.settings.socket_path, os.environ, os.getuid())
