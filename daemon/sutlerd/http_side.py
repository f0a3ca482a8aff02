"""The HTTP side, put together: its socket beside the other one, and a loopback port if asked."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from sutlerd.app import App
from sutlerd.config.types import host_and_port
from sutlerd.domain.ports import EventLog
from sutlerd.http.doorkeeper import HttpDoorkeeper
from sutlerd.http.groups import all_doors
from sutlerd.http.ports import LoopbackPort
from sutlerd.http.site import Site
from sutlerd.server.front import Front
from sutlerd.system.access import Access
from sutlerd.system.exits import CannotStart
from sutlerd.system.listening import SocketAccess
from sutlerd.system.tokens import TokenBook


def beside(path: Path) -> Path:
    """Give where the HTTP socket is if nobody says it: ``sutler-http.sock``, by ``sutler.sock``."""
    return path.with_name(f"{path.stem}-http{path.suffix}")


class HttpSide:
    """A context manager: listens while it is entered. ``paths`` tells where, for the log."""

    def __init__(
        self,
        app: App,
        *,
        main_path: Path,
        socket_access: SocketAccess,
        access: Callable[[], Access],
        tokens: TokenBook,
        uid: int,
        log: EventLog,
    ) -> None:
        http = app.config.http
        self._http = http
        self._log = log
        self._app = app
        self._stack = ExitStack()
        self._listening: list[Front | LoopbackPort] = []
        site = Site(
            app.hub,
            doors=all_doors(app.hub),
            tokens=tokens,
            max_body_bytes=http.max_body_bytes,
        )
        self._doorkeeper = HttpDoorkeeper(app.hub, site, access)
        self._front = Front(
            path=http.socket or beside(main_path),
            inherited=None,
            access=socket_access,
            uid=uid,
            doorkeeper=self._doorkeeper,
            log=log,
        )

    @property
    def places(self) -> list[str]:
        return [each.path for each in self._listening]

    def __enter__(self) -> HttpSide:
        """Listen. Raises ``CannotStart`` for what somebody asked for by name."""
        if not self._http.enabled:
            return self
        try:
            self._listening.append(self._stack.enter_context(self._front))
        except CannotStart as refusal:
            if self._http.socket is not None:
                raise
            self._log.event("warning", "http", said=f"no HTTP socket: {refusal.message}")
        else:
            self._app.tasks.start(self._front.keep_reachable(), "keep the HTTP socket reachable")
        if self._http.listen is not None:
            port = LoopbackPort(*host_and_port(self._http.listen), self._doorkeeper, self._log)
            self._listening.append(self._stack.enter_context(port))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def stop_accepting(self) -> None:
        for each in self._listening:
            each.stop_accepting()
