"""Who waits for what on one connection, and who holds its two roles.

The *reader* reads for all, and hands its role on when its own answer is there; the *writer*
has a line under way. A role is a field and not a lock, so that whatever interrupts a call
(Ctrl-C, a signal handler that raises), `Table.drop` finds out which roles it held and gives
them back. Every method may be interrupted at any point and called again.

No I/O here; every method holds the lock for a few steps only. The lock is reentrant, because
a finalizer or a signal handler may come back in here while its own thread holds it.
"""

from _thread import RLock, allocate_lock

from sutler.pending import CHUNK, ERROR, GARBAGE, Lost

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, List, Optional, Tuple

    from sutler.exchange import Event
    from sutler.pending import Pending, Waiter


class Table:
    """``closing``: no more requests are taken; ``down`` tells how it ended, once it did."""

    __slots__ = ("_lock", "_open", "_parked", "_queue", "_reader", "_writer", "closing", "down")

    def __init__(self) -> None:
        self._lock = RLock()
        self._open: "Dict[int, Pending]" = {}
        self._parked: "Dict[Waiter, None]" = {}
        self._queue: "Dict[Waiter, None]" = {}
        self._reader: "Optional[Waiter]" = None
        self._writer: "Optional[Waiter]" = None
        self.closing = False
        self.down: "Optional[Lost]" = None

    def add(self, pending: "Pending") -> "Optional[bool]":
        """Enter a request, and like `take_writing` become the writer or be parked.

        None if the connection takes no more requests; this one is then lost at once.
        """
        with self._lock:
            if self.closing:
                pending.lose(self.down or Lost("the connection was given up"))
                return None
            self._open[pending.number] = pending
            return self.take_writing(pending)

    def forget(self, number: int) -> None:
        """Let an answer go to nobody. Takes no lock: one step of a dict."""
        self._open.pop(number, None)

    def take_writing(self, waiter: "Waiter") -> bool:
        """Become the writer, or be parked until called."""
        with self._lock:
            if self._writer is None:
                self._writer = waiter
                return True
            self._park(waiter, self._queue)
            return False

    def take_reading(self, waiter: "Waiter") -> bool:
        """Become the reader, or be parked until called or ready."""
        with self._lock:
            if self._reader is None and not waiter.ready:
                self._reader = waiter
                return True
            if not waiter.ready:
                self._park(waiter, self._parked)
            return False

    def try_role(self, waiter: "Waiter", *, writing: bool) -> bool:
        """Become the writer (or the reader) if that is free and the connection up."""
        with self._lock:
            if self.down is not None or (self._writer if writing else self._reader) is not None:
                return False
            if writing:
                self._writer = waiter
            else:
                self._reader = waiter
            return True

    def leave_writing(self) -> None:
        with self._lock:
            self._writer = None
            self._call_next(self._queue)

    def leave_reading(self) -> None:
        with self._lock:
            self._reader = None
            self._call_next(self._parked)

    def hand_out(self, events: "List[Event]") -> None:
        """Deliver what came to whom it is for, and wake them."""
        with self._lock:
            for number, kind, payload in events:
                pending = self._open.get(number)  # type: ignore[arg-type]
                if pending is not None:
                    waiter = pending.deliver(kind, payload)
                    if kind != CHUNK:
                        self._open.pop(pending.number, None)
                    if waiter is not self._reader:
                        self._wake(waiter)
                elif number is None and kind == ERROR:
                    self._end(Lost("the daemon refused the connection", payload))
                elif kind == GARBAGE:
                    self._end(Lost(payload))
                # else it was cancelled, or asked by nobody

    def drop(self, pending: "Pending", waiter: "Waiter") -> "Tuple[bool, bool, bool]":
        """Take out a request and whoever waited for it.

        Returns whether it was still to be answered, was reading, was writing.
        """
        with self._lock:
            was_open = self._open.pop(pending.number, None) is not None
            was_reading = self._reader in (pending, waiter)
            was_writing = self._writer in (pending, waiter)
            self._withdraw(pending)
            self._withdraw(waiter)
        return was_open, was_reading, was_writing

    def withdraw(self, waiter: "Waiter") -> None:
        """Take back whatever role or place a waiter has; its request stays open."""
        with self._lock:
            self._withdraw(waiter)

    def end(self, lost: Lost) -> None:
        """End the connection: every open request is lost, everybody wakes."""
        with self._lock:
            self._end(lost)

    def over(self) -> "Tuple[bool, bool]":
        """Tell whether the connection is over, and whether nobody holds a role in it."""
        with self._lock:
            if self.down is None and self.closing and not self._open:
                self.down = Lost("the connection was given up")
            return self.down is not None, self._reader is None and self._writer is None

    def _end(self, lost: Lost) -> None:
        self.closing = True
        if self.down is None:
            self.down = lost
        for pending in list(self._open.values()):
            self._wake(pending.lose(self.down))
        self._open.clear()
        for waiter in [*self._parked, *self._queue]:
            self._wake(waiter)

    def _withdraw(self, waiter: "Waiter") -> None:
        self._parked.pop(waiter, None)
        self._queue.pop(waiter, None)
        if self._reader is waiter:
            self._reader = None
        if self._writer is waiter:
            self._writer = None
        if self._reader is None:
            self._call_next(self._parked)
        if self._writer is None:
            self._call_next(self._queue)

    def _park(self, waiter: "Waiter", where: "Dict[Waiter, None]") -> None:
        if waiter.gate is None:
            waiter.gate = allocate_lock()
        waiter.gate.acquire(False)
        where[waiter] = None

    def _wake(self, waiter: "Waiter") -> None:
        # In this order, so that an interrupt in between can only wake it twice.
        if waiter.gate is not None and waiter.gate.locked():
            waiter.gate.release()
        self._parked.pop(waiter, None)
        self._queue.pop(waiter, None)

    def _call_next(self, where: "Dict[Waiter, None]") -> None:
        for waiter in list(where)[:1]:
            self._wake(waiter)
