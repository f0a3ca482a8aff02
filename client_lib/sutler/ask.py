"""One call under way in the blocking client: sent, waited for, and if need be sent again.

`Home` is what a client has in one process; a forked child gets one of its own.
"""

from _thread import RLock
from time import sleep

from sutler.errors import SutlerError
from sutler.pending import Asked, Expired

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _thread import LockType
    from typing import Any, Dict, Optional, Union

    from sutler.calls import Call
    from sutler.client import Settings
    from sutler.errors import Timeout
    from sutler.link import Link
    from sutler.pending import Lost, Waiter


class Home:
    """``opening`` is locked while a thread connects; ``lock`` guards all the others."""

    __slots__ = ("closed", "link", "lock", "opening", "pid", "settings")

    def __init__(self, pid: int, settings: "Settings") -> None:
        self.pid = pid
        self.settings = settings
        self.lock = RLock()
        self.opening: "Optional[LockType]" = None
        self.link: "Optional[Link]" = None
        self.closed = False

    def let_go(self, link: "Optional[Link]") -> None:
        """Ask nothing more on this connection."""
        if link is not None:
            if self.link is link:
                self.link = None
            link.retire()

    def close(self) -> None:
        with self.lock:
            self.closed = True
            link, self.link = self.link, None
        if link is not None:
            link.fail("the client was closed")

    def forsake(self) -> None:
        """Close the inherited copy of a parent's connection. No lock: its holder may be gone."""
        self.closed = True
        link, self.link = self.link, None
        if link is not None:
            link.forsake()


class Ask(Asked):
    """``link`` is the connection of the latest try."""

    link: "Optional[Link]" = None

    def __init__(self, home: Home, call: "Call") -> None:
        super().__init__(call, home.settings.reconnect_s)
        self.home = home

    def answer(self) -> "Any":
        """Send, wait, and give the call's value; raises its one error."""
        try:
            self.start()
            while self._wait() is not None:
                sleep(self.pause_s())
                self.start()
        except Expired:
            raise self.timed_out() from None
        except SutlerError:
            raise
        except BaseException:
            self.interrupted()
            raise
        return self.call.value(self.result)

    def _wait(self) -> "Union[Dict[str, Any], Lost, None]":
        if self.link is not None:
            self.link.wait(self, self.deadline_s)
        return self.failure

    def start(self) -> None:
        """Send on the client's connection; waits for a daemon to come back, if one was there.

        Afterwards the ask waits on ``link``.
        """
        while True:
            try:
                link = self.home.link
                if link is None or not link.usable:
                    from sutler.opening import open_link

                    link = open_link(self.home, self.deadline_s)
                break
            except SutlerError as error:
                sleep(self.reconnect_pause_s(error))
        self.link = link
        if self.tries is not None:
            self.renew()
        link.send(self, self.call.method, self.params(), self.deadline_s)

    def let_go(self) -> None:
        self.home.let_go(self.link)

    def timed_out(self, waiter: "Optional[Waiter]" = None) -> "Timeout":
        """Give up; the connection stays unless a line is half written."""
        if self.link is not None:
            self.link.abandon(self, waiter)
        return self.too_late()

    def interrupted(self, waiter: "Optional[Waiter]" = None) -> None:
        """Clean up after an exception that can have come anywhere.

        The connection is given up even if it is whole: nobody can say what else was cut short.
        """
        link = self.link
        if link is not None:
            if self.home.link is link:
                self.home.link = None
            link.abandon(self, waiter)
            link.retire()
