"""Looks at the daemon again and again, on a thread: the screen and its keys never wait for it."""

from __future__ import annotations

import threading
import time
from typing import NamedTuple

from sutler.cli_terminal import one_line
from sutler.errors import SutlerError
from sutler.top_sight import Seen, away, sight

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Dict, Optional

    from sutler.client import Client
    from sutler.top_sight import Sight

#: How often one looks whether a daemon that went away is back.
_AWAY_EVERY_S = 0.5


class _State(NamedTuple):
    """The last screen, and since when and why there is no newer one."""

    last: Sight
    away_since_s: Optional[float]
    why: str


class Watch:
    """``look`` once for the first screen; `start`, and ``screen`` is the newest from then on.

    ``wake`` is called from the thread after every look. Each look asks for ``status``,
    ``queue`` and ``budget`` within the client's time limit.
    """

    def __init__(self, client: Client, every_s: float) -> None:
        self._client = client
        self._every_s = every_s
        self._names: Dict[int, str] = {}
        self._seen: Optional[Seen] = None
        self._state: Optional[_State] = None
        self._over = threading.Event()

    def look(self) -> Sight:
        """Ask the daemon. Raises SutlerError."""
        status = self._client.call("status", {})
        queue = self._client.call("queue", {})
        budget = self._client.call("budget", {})
        self._learn_names(status)
        now = Seen(status, queue, budget, time.monotonic(), dict(self._names))
        try:
            shown = sight(now, self._seen)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            said = "this sutler cannot read what sutlerd %s says of itself: %r"
            raise SutlerError(said % (status.get("version", "?"), error)) from None
        self._seen = now
        self._state = _State(shown, None, "")
        return shown

    def start(self, wake: Callable[[], None]) -> None:
        """Look from now on. The thread is one that a process may end with."""
        thread = threading.Thread(target=self._run, args=(wake,), name="sutler top", daemon=True)
        thread.start()

    def stop(self) -> None:
        self._over.set()

    @property
    def is_away(self) -> bool:
        return self._state is not None and self._state.away_since_s is not None

    @property
    def version(self) -> object:
        """Give what is equal as long as nothing new is known but how long the daemon is away."""
        return None if self._state is None else (id(self._state.last), self._state.away_since_s)

    def screen(self) -> Sight:
        """Give what is to be shown now; `look` has been successful before."""
        state = self._state
        assert state is not None, "look first"
        if state.away_since_s is None:
            return state.last
        return away(state.last, state.why, time.monotonic() - state.away_since_s)

    def _run(self, wake: Callable[[], None]) -> None:
        next_s = time.monotonic() + self._every_s
        while not self._over.wait(max(0.0, next_s - time.monotonic())):
            begun_s = time.monotonic()
            try:
                self.look()
                next_s = max(begun_s + self._every_s, time.monotonic() + self._every_s / 4)
            except SutlerError as error:
                self._miss(error)
                next_s = time.monotonic() + min(self._every_s, _AWAY_EVERY_S)
            wake()

    def _miss(self, error: SutlerError) -> None:
        assert self._state is not None, "look first"
        since_s = self._state.away_since_s
        if since_s is None:
            since_s = time.monotonic()
        self._state = self._state._replace(away_since_s=since_s, why=one_line(str(error)))

    def _learn_names(self, status: Dict[str, object]) -> None:
        """Look users up once each, here: a directory on the network may take its time."""
        import pwd

        for rows in (status.get("callers"), status.get("recent_errors")):
            for row in rows if isinstance(rows, list) else ():
                uid = row.get("uid", -1)
                if uid < 0 or uid in self._names:
                    continue
                try:
                    self._names[uid] = pwd.getpwuid(uid).pw_name
                except (KeyError, OverflowError):
                    self._names[uid] = str(uid)
