"""The HTTP side, put together: its socket beside the other one, and a loopback port if asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from sutlerd.app import App
from sutlerd.config.types import host_and_port
from sutlerd.domain.ports import EventLog
from sutlerd.http.door import Door
from sutlerd.http.doorkeeper import HttpDoorkeeper
from sutlerd.http.ports import LoopbackPort
from sutlerd.http.site import Site
from sutlerd.server.front import Front
from sutlerd.system.access import Access
from sutlerd.system.exits import CannotStart
from sutlerd.system.late import LOADING
from sutlerd.system.listening import Listener, SocketAccess
from sutlerd.system.tokens import TokenBook


def beside(path: Path) -> Path:
    """Give where the HTTP socket is if nobody says it: ``sutler-http.sock``, by ``sutler.sock``."""
    return path.with_name(f"{path.stem}-http{path.suffix}")


def _doors(app: App) -> Sequence[Door]:
    """Make all routes; whoever never has a client need not wait for them at the start."""
    with LOADING:
        from sutlerd.http.groups import all_doors

    return all_doors(app.hub)


class HttpSide:
    """A context manager: listens while it is entered. ``places`` tells where, for the log.

    ``inherited`` is the service manager's socket for it; then none is bound but those that
    the configuration names.
    """

    def __init__(
        self,
        app: App,
        *,
        main_path: Path,
        inherited: Listener | None,
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
            doors=lambda: _doors(app),
            tokens=tokens,
            max_body_bytes=http.max_body_bytes,
        )
        self._doorkeeper = HttpDoorkeeper(app.hub, site, access)
        prometheus = app.config.llm.monitoring.prometheus

        def front(path: Path | None, passed_on: Listener | None = None) -> Front:
            return Front(
                path=path,
                inherited=passed_on,
                access=socket_access,
                uid=uid,
                doorkeeper=self._doorkeeper,
                log=log,
            )

        self._fronts: list[tuple[Front, bool]] = []
        self._passed_on = front(None, inherited) if inherited is not None else None
        if self._passed_on is None or http.socket is not None:
            self._fronts.append((front(http.socket or beside(main_path)), http.socket is not None))
        ports = {"http.listen": http.listen}
        if prometheus.enabled:
            ports["llm.monitoring.prometheus.listen"] = prometheus.listen
            if prometheus.socket is not None:
                self._fronts.append((front(prometheus.socket), True))
        self._ports = {name: listen for name, listen in ports.items() if listen is not None}

    @property
    def places(self) -> list[str]:
        return [each.path for each in self._listening] if self._http.enabled else []

    def __enter__(self) -> HttpSide:
        """Listen. Raises ``CannotStart`` for what somebody asked for by name."""
        if self._passed_on is not None:
            # Where HTTP is off, too: nobody shall wait for ever on a socket that is there.
            self._doorkeeper.is_off = not self._http.enabled
            self._listening.append(self._stack.enter_context(self._passed_on))
        if not self._http.enabled:
            return self
        for front, was_named in self._fronts:
            try:
                self._listening.append(self._stack.enter_context(front))
            except CannotStart as refusal:
                if was_named:
                    raise
                self._log.event("warning", "http", said=f"no HTTP socket: {refusal.message}")
            else:
                self._app.tasks.start(front.keep_reachable(), "keep the HTTP socket reachable")
        for setting, listen in self._ports.items():
            port = LoopbackPort(*host_and_port(listen), self._doorkeeper, self._log, setting)
            self._listening.append(self._stack.enter_context(port))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def stop_accepting(self) -> None:
        for each in self._listening:
            each.stop_accepting()
