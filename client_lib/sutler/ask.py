"""One call under way in the blocking client: sent, waited for, and if need be sent again.

`Home` is what a client has in one process; a forked child gets one of its own.
"""

from _thread import allocate_lock
from time import monotonic, sleep

from sutler.errors import ShuttingDown, SutlerError, Timeout, from_wire
from sutler.pending import Expired, Lost, Pending

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _thread import LockType
    from typing import Any, Optional

    from sutler.calls import Call
    from sutler.client import Settings
    from sutler.link import Link
    from sutler.pending import Waiter
    from sutler.tries import Tries

#: The daemon's own answer that the time is over says more than ours: it gets a head start.
GRACE_S = 0.25


class Home:
    """``opening`` is locked while a thread connects; ``lock`` guards all the others."""

    __slots__ = ("closed", "link", "lock", "opening", "pid", "settings")

    def __init__(self, pid: int, settings: "Settings") -> None:
        self.pid = pid
        self.settings = settings
        self.lock = allocate_lock()
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


class Ask(Pending):
    """``delivered`` says that the caller has been given a part of the answer."""

    __slots__ = ("call", "deadline_s", "delivered", "home", "link", "tries")

    def __init__(self, home: Home, call: "Call") -> None:
        super().__init__()
        self.home = home
        self.call = call
        self.deadline_s = monotonic() + call.timeout_s + GRACE_S
        self.link: "Optional[Link]" = None
        self.tries: "Optional[Tries]" = None
        self.delivered = False

    def answer(self) -> "Any":
        """Send, wait, and give the call's value; raises its one error."""
        try:
            self.start()
            while self.is_unanswered():
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

    def is_unanswered(self) -> bool:
        if self.link is not None:
            self.link.wait(self, self.deadline_s)
        return self.failure is not None

    def start(self) -> None:
        """Send on the client's connection; waits for a daemon to come back, if one was there.

        Afterwards the ask waits on ``link``.
        """
        call = self.call
        while True:
            try:
                link = self.home.link
                if link is None or not link.usable:
                    from sutler.opening import open_link

                    link = open_link(self.home, self.deadline_s)
                break
            except SutlerError as error:
                if self.tries is None:
                    raise
                sleep(self.tries.refused(error, monotonic()))
        self.link = link
        self.renew()
        if call.tells_time:
            left_s = call.timeout_s
            if self.tries is not None:
                left_s = max(0.001, round(self.deadline_s - GRACE_S - monotonic(), 3))
            call.params["timeout_s"] = left_s
        link.send(self, call.method, call.params, self.deadline_s)

    def pause_s(self) -> float:
        """Give how long to wait before the call is sent again; raises its error if it is not."""
        failure, now_s = self.failure, monotonic()
        if isinstance(failure, Lost):
            return self.all_tries().lost(
                failure,
                now_s,
                sent=self.sent,
                repeatable=self.call.repeatable,
                delivered=self.delivered,
            )
        error = from_wire(failure or {})
        if not isinstance(error, ShuttingDown):
            return self.answered(error, now_s)
        self.home.let_go(self.link)
        if self.delivered:
            raise error
        return self.all_tries().refused(error, now_s)

    def answered(self, error: SutlerError, now_s: float) -> float:
        """Take an error as the answer that it is; a batch may rather wait."""
        raise error

    def all_tries(self) -> "Tries":
        if self.tries is None:
            from sutler.tries import Tries

            self.tries = Tries(self.deadline_s, self.home.settings.reconnect_s)
        return self.tries

    def timed_out(self, waiter: "Optional[Waiter]" = None) -> Timeout:
        """Give up; the connection stays unless a line is half written."""
        if self.link is not None:
            self.link.abandon(self, waiter)
        return Timeout(
            "no answer to %s within %.6g s" % (self.call.method, self.call.timeout_s),
            request_id=self.call.params.get("request_id"),
        )

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
