"""Many calls at once on the one connection, in the blocking client; answers in order.

The calls in flight are bounded, and so are the answers that wait for a slower one before
them. All of them share one waiter: whichever is answered wakes the loop.
"""

from collections import deque
from time import monotonic, sleep

from sutler import calls
from sutler.ask import Ask
from sutler.errors import InvalidParams, SutlerError
from sutler.pending import Expired, Waiter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Deque, Dict, Iterable, Iterator, List, Optional

    from sutler.ask import Home
    from sutler.calls import Call, Defaults
    from sutler.pending import Lost

#: Answers held back for a slow one before them: at most this many times those in flight.
HELD_FACTOR = 16
#: After a restart some calls may still be under way on the old connection.
_LOOK_S = 0.05
_IDLE_S = 60.0


class Batch(Waiter):
    def __init__(self) -> None:
        self.settled: "Deque[Item]" = deque()

    def take(self) -> "List[Item]":
        """Take what has been answered or lost. In this order: others may be delivering."""
        self.ready = False
        taken = []
        while self.settled:
            taken.append(self.settled.popleft())
        return taken


class Item(Ask):
    """``done``: ``value`` or ``error`` is final. ``due_s``: when it is to be sent (again)."""

    patient = True
    done: bool = False
    due_s: "Optional[float]" = None
    error: "Optional[SutlerError]" = None
    value: "Any" = None

    def __init__(self, home: "Home", call: "Call", batch: Batch) -> None:
        super().__init__(home, call)
        self.batch = batch

    def deliver(self, kind: int, payload: "Any") -> Waiter:
        super().deliver(kind, payload)
        return self._settled() if self.ready else self.batch

    def lose(self, lost: "Lost") -> Waiter:
        if self.ready:
            return self.batch
        super().lose(lost)
        return self._settled()

    def _settled(self) -> Waiter:
        self.batch.settled.append(self)
        self.batch.ready = True
        return self.batch

    def send(self) -> None:
        self.due_s = None
        try:
            self.start()
        except Expired:
            self.finish(self.timed_out(self.batch))
        except SutlerError as error:
            self.finish(error)

    def settle(self) -> None:
        """Make its value of what came, or its error, or a date for another try."""
        try:
            if self.failure is None:
                self.value = self.call.value(self.result)
                self.done = True
            else:
                self.due_s = monotonic() + self.pause_s()
        except SutlerError as error:
            self.finish(error)

    def finish(self, error: SutlerError) -> None:
        self.error = error
        self.done = True


class Mapping:
    """The loop. ``window`` holds the items not yet handed out, in the order of the prompts."""

    def __init__(
        self,
        home: "Home",
        defaults: "Defaults",
        prompts: "Iterable[Any]",
        max_in_flight: int,
        options: "Dict[str, Any]",
    ) -> None:
        check(max_in_flight, options, defaults)
        self._home = home
        self._defaults = defaults
        self._prompts = iter(prompts)
        self._max_in_flight = max_in_flight
        self._options = options
        self._batch = Batch()
        self._window: "Deque[Item]" = deque()
        self._under_way = 0
        self._exhausted = False

    def answers(self, return_errors: bool) -> "Iterator[Any]":
        try:
            while True:
                self._fill()
                while self._window and self._window[0].done:
                    item = self._window.popleft()
                    if item.error is not None and not return_errors:
                        raise item.error
                    yield item.value if item.error is None else item.error
                    self._fill()
                if not self._window:
                    return
                self._wait()
        except (GeneratorExit, SutlerError):
            for item in self._window:
                if item.link is not None and not item.done:
                    item.link.abandon(item, self._batch)
            raise
        except BaseException:
            for item in self._window:
                if not item.done:
                    item.interrupted(self._batch)
            raise

    def _fill(self) -> None:
        most = HELD_FACTOR * self._max_in_flight
        while self._under_way < self._max_in_flight and len(self._window) < most:
            if self._exhausted:
                return
            try:
                asked = next(self._prompts)
            except StopIteration:
                self._exhausted = True
                return
            call = call_for(asked, dict(self._options), self._defaults)
            item = Item(self._home, call, self._batch)
            self._window.append(item)
            self._under_way += 1
            item.send()
            self._count(item)

    def _count(self, item: Item) -> None:
        if item.done:
            self._under_way -= 1

    def _wait(self) -> None:
        """Wait for the next answer, date or deadline, and deal with what there is."""
        now_s = monotonic()
        waiting = [item for item in self._window if not item.done]
        until_s = now_s + _IDLE_S
        links = []
        for item in waiting:
            until_s = min(until_s, item.deadline_s if item.due_s is None else item.due_s)
            if item.due_s is None and item.link not in links:
                links.append(item.link)
        if len(links) > 1:
            until_s = min(until_s, now_s + _LOOK_S)
        if links and links[0] is not None:
            try:
                links[0].wait(self._batch, until_s)
            except Expired:
                pass
        elif until_s > now_s and not self._batch.ready:
            sleep(until_s - now_s)
        for item in self._batch.take():
            if not item.done:
                item.settle()
                self._count(item)
        self._on_time(waiting)

    def _on_time(self, waiting: "List[Item]") -> None:
        now_s = monotonic()
        for item in waiting:
            if item.done:
                continue
            if item.due_s is not None and item.due_s <= now_s:
                item.send()
                self._count(item)
            elif item.due_s is None and item.deadline_s <= now_s and not item.ready:
                item.finish(item.timed_out(self._batch))
                self._count(item)


def check(max_in_flight: int, options: "Dict[str, Any]", defaults: "Defaults") -> None:
    """Find what would be wrong with every call before the first is made."""
    if max_in_flight < 1:
        raise InvalidParams("max_in_flight: must be at least 1, not %r" % max_in_flight)
    if options.get("request_id") is not None:
        raise InvalidParams("request_id: one id cannot stand for many calls")
    calls.complete("", dict(options), defaults)


def call_for(asked: "Any", options: "Dict[str, Any]", defaults: "Defaults") -> "Call":
    """Make the call of one prompt; an object with ``prompt`` or ``messages`` has own options."""
    if isinstance(asked, dict) and "role" not in asked:
        own = dict(asked)
        prompt, messages = own.pop("prompt", None), own.pop("messages", None)
        if (prompt is None) == (messages is None):
            raise InvalidParams("each object to map needs either prompt or messages")
        asked = messages if prompt is None else prompt
        options.update(own)
    return calls.complete(asked, options, defaults)
