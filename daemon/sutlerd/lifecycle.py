"""Start, READY, drain, stop: the order in which the daemon lives and dies.

Folders, lock and store come before the socket: who is refused leaves a running daemon's
socket untouched. The first SIGTERM drains, a second one or SIGINT during it ends at once.
"""

from __future__ import annotations

import asyncio
import os
import signal
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Any

from sutlerd import __version__
from sutlerd.app import App, build
from sutlerd.config.loader import Loaded
from sutlerd.config.schema import Config
from sutlerd.domain.errors import ShuttingDown
from sutlerd.domain.record import record
from sutlerd.http_side import HttpSide
from sutlerd.monitoring import keep_history, keep_textfile, tell_of_hits
from sutlerd.pipeline.tape import Taped
from sutlerd.providers.trust import tell_of_trust
from sutlerd.reload import Reloading, access_of
from sutlerd.server.doorkeeper import Doorkeeper
from sutlerd.server.front import CHECK_INTERVAL_S, Front
from sutlerd.server.watch import watch_connections
from sutlerd.system import garbage
from sutlerd.system.access import socket_gid
from sutlerd.system.activation import Inherited, inherited_listeners
from sutlerd.system.clock import SystemClock
from sutlerd.system.exits import CannotStart, Exit
from sutlerd.system.folders import Host, Place, cache_folder, socket_path, state_folder
from sutlerd.system.hardening import Hardened, connection_limit
from sutlerd.system.listening import SocketAccess, somaxconn_warning
from sutlerd.system.lock import FileLock, lock_folder
from sutlerd.system.notify import Notifier, feed_watchdog, watchdog_interval_s
from sutlerd.system.socket_path import closed_folder_warning
from sutlerd.system.stall import Stall, StallWatcher
from sutlerd.system.tokens import TokenBook
from sutlerd.telemetry.logs import Log
from sutlerd.tracing import open_tracing
from sutlerd.warm_up import warm_up

_SIGNALS = (signal.SIGTERM, signal.SIGINT)
#: For clients to take what they are owed when the daemon stops.
_LEAVE_LIMIT_S = 0.5


@record
class _Places:
    """What this daemon alone uses, locked where it is ours. ``cache`` is None for memory.

    Either ``inherited`` are the sockets that the service manager passed on, or ``socket`` is
    where to listen.
    """

    state: Place
    cache: Place | None
    socket: Place | None
    inherited: Inherited | None
    locks: tuple[FileLock, ...]


async def live(
    load: Callable[[], Loaded],
    loaded: Loaded,
    environ: Mapping[str, str],
    hardened: Hardened,
    log: Log,
    taped: Taped,
) -> Exit:
    """Run the daemon until it is told to stop. Raises ``CannotStart``.

    ``load`` reads the configuration once more, for a reload.
    """
    config, host = loaded.config, Host(environ=environ)
    clock = SystemClock()
    started_s = clock.monotonic_s()
    async with AsyncExitStack() as stack:
        places = _claim(stack, config, host)
        limit = _warn(config, places, hardened, log)
        tracing = open_tracing(stack, config.llm.monitoring.tracing, clock=clock, log=log)
        app = await build(
            stack,
            config,
            state_place=places.state,
            cache_place=places.cache,
            connection_limit=limit,
            taped=taped,
            clock=clock,
            log=log,
            tracer=None if tracing is None else tracing.tracer,
        )
        app.hub.services.spans = None if tracing is None else tracing.queue
        notifier = Notifier(environ)
        app.hub.services.stalls = stack.enter_context(_watched_loop(log))
        doorkeeper = Doorkeeper(
            hub=app.hub, access=access_of(config, host.uid), log=log, spawn=app.tasks.start
        )
        front = _front(doorkeeper, config, places, host, log)
        stack.enter_context(front)
        http = stack.enter_context(_http_side(app, doorkeeper, places, front.path, host, log))
        _start_watching(app, front, places, notifier, host, log)
        serving = f"serving on {front.path}"
        reloading = Reloading(
            app=app,
            doorkeeper=doorkeeper,
            load=load,
            own_uid=host.uid,
            notifier=notifier,
            ready=serving,
            clock=clock,
            log=log,
        )
        with _signals(reloading.ask) as signals:
            app.hub.services.control = reloading.control(lambda: signals.put_nowait(signal.SIGTERM))
            garbage.settle()
            notifier.ready(serving)
            warming = _start_behind(app, reloading)
            _log_ready(front, http, places, clock.monotonic_s() - started_s, log)
            await _told_to_stop(signals, warming)
            notifier.stopping("finishing calls under way")
            return await _drain(app, (front, http), signals, app.config.daemon.drain_s, log)


def _start_behind(app: App, reloading: Reloading) -> asyncio.Task[None]:
    """Start what need not be there when the daemon says that it is ready; give the warm-up."""
    app.tasks.start(reloading.serve(), "reload")
    return app.tasks.start(warm_up(), "warm up")


async def _told_to_stop(signals: asyncio.Queue[int], warming: asyncio.Task[None]) -> None:
    """Wait for the word to stop. Raises ``CannotStart`` if the warm-up fails: without what it
    loads no call can be answered, and a daemon that says so to each of them helps nobody."""
    told = asyncio.ensure_future(signals.get())
    await asyncio.wait((told, warming), return_when=asyncio.FIRST_COMPLETED)
    failed = None if told.done() or warming.cancelled() else warming.exception()
    if failed is not None:
        told.cancel()
        raise CannotStart(
            Exit.INTERNAL,
            f"what every call needs cannot be loaded ({type(failed).__name__}: {failed}): "
            "the installation is incomplete or broken, so install sutlerd again",
        )
    await told


def _log_ready(front: Front, http: HttpSide, places: _Places, took_s: float, log: Log) -> None:
    log.event(
        "info",
        "ready",
        socket=front.path,
        http=" ".join(http.places),
        version=__version__,
        pid=os.getpid(),
        state=str(places.state.path),
        cache=str(places.cache.path) if places.cache else "memory",
        took_ms=round(took_s * 1000, 1),
    )


def _start_watching(
    app: App, front: Front, places: _Places, notifier: Notifier, host: Host, log: Log
) -> None:
    """Start what looks after the daemon itself from time to time."""
    app.tasks.start(app.watch_prompts(), "watch the prompts")
    app.tasks.start(app.treasury.tend(), "tend the ledger")
    app.tasks.start(app.treasury.alarm.deliver(), "deliver alerts")
    app.tasks.start(keep_textfile(app, log), "write the metrics' textfile")
    app.tasks.start(tell_of_hits(app, log), "tell of hits")
    app.tasks.start(keep_history(app, SystemClock()), "keep the last hour")
    app.tasks.start(app.keep_levels(), "keep the levels")
    app.tasks.start(watch_connections(app.hub), "watch connections")
    app.tasks.start(front.keep_reachable(), "keep the socket reachable")
    app.tasks.start(_watch_places(places.locks, log), "watch the folders")
    config = app.config
    used = {n: p for n, p in config.llm.providers.items() if config.off(n) is None}
    app.tasks.start(tell_of_trust(used, log), "look at the trust store")
    fed_every_s = watchdog_interval_s(host.environ, pid=os.getpid())
    if fed_every_s is not None:
        app.tasks.start(feed_watchdog(notifier, fed_every_s), "feed the watchdog")


def _claim(stack: AsyncExitStack, config: Config, host: Host) -> _Places:
    """Choose and lock the folders; nobody who is refused here has touched a socket."""
    inherited = inherited_listeners(host.environ, pid=os.getpid())
    state = state_folder(config.daemon.state_dir, host)
    cache = _cache_place(config, host)
    locks: list[FileLock] = []
    for place in (state, cache):
        if place is not None and not (locks and place.path.samefile(state.path)):
            lock = lock_folder(place.path, uid=host.uid)
            stack.callback(lock.release)
            locks.append(lock)
    return _Places(
        state=state,
        cache=cache,
        socket=None if inherited is not None else socket_path(config.daemon.socket, host),
        inherited=inherited,
        locks=tuple(locks),
    )


def _warn(config: Config, places: _Places, hardened: Hardened, log: Log) -> int:
    """Say what is not as it should be; give how many connections can be served."""
    for place in (places.state, places.cache, places.socket):
        for said in place.warnings if place else ():
            log.event("warning", "folder", said=said)
    limit, limited = connection_limit(config.limits.connections, hardened.descriptors)
    warnings = [*hardened.warnings, limited, somaxconn_warning()]
    if places.socket is not None:
        warnings.append(closed_folder_warning(places.socket.path, config.daemon.socket_mode_bits))
    for warning in warnings:
        if warning is not None:
            log.event("warning", "system", said=warning)
    return limit


def _cache_place(config: Config, host: Host) -> Place | None:
    cache = config.llm.cache
    if not cache.enabled or cache.backend == "memory":
        return None
    return cache_folder(config.daemon.cache_dir, host)


def _http_side(
    app: App, doorkeeper: Doorkeeper, places: _Places, main_path: str, host: Host, log: Log
) -> HttpSide:
    tokens = TokenBook(places.state.path, lambda: doorkeeper.access)
    tokens.load()
    app.hub.services.tokens = tokens
    beside = Path(main_path)
    runtime = host.environ.get("RUNTIME_DIRECTORY", "").partition(":")[0]
    if places.inherited is not None and runtime:
        # The folder of the service manager's socket is the manager's, too.
        beside = Path(runtime, beside.name)
    return HttpSide(
        app,
        main_path=beside,
        inherited=places.inherited.http if places.inherited is not None else None,
        socket_access=_socket_access(app.config),
        access=lambda: doorkeeper.access,
        tokens=tokens,
        uid=host.uid,
        log=log,
    )


def _socket_access(config: Config) -> SocketAccess:
    daemon = config.daemon
    return SocketAccess(mode=daemon.socket_mode_bits, gid=socket_gid(daemon.socket_group))


def _front(doorkeeper: Doorkeeper, config: Config, places: _Places, host: Host, log: Log) -> Front:
    return Front(
        path=places.socket.path if places.socket is not None else None,
        inherited=places.inherited.main if places.inherited is not None else None,
        access=_socket_access(config),
        uid=host.uid,
        doorkeeper=doorkeeper,
        log=log,
    )


async def _drain(
    app: App,
    fronts: Sequence[Front | HttpSide],
    signals: asyncio.Queue[int],
    drain_s: float,
    log: Log,
) -> Exit:
    """Let what is under way finish, within the limit or until told again to stop."""
    hub = app.hub
    hub.draining = True
    for front in fronts:
        front.stop_accepting()
    app.attempts.drain()
    log.event("info", "draining", calls=hub.calls_open, connections=len(hub.connections))
    again = asyncio.ensure_future(signals.get())
    idle = asyncio.ensure_future(hub.until(lambda: hub.calls_open == 0))
    done, _ = await asyncio.wait(
        (again, idle), timeout=drain_s, return_when=asyncio.FIRST_COMPLETED
    )
    for waiter in (again, idle):
        waiter.cancel()
    calls_cut = hub.calls_open
    hub.close_all(ShuttingDown("the daemon has stopped: reconnect and ask again"))
    try:
        async with asyncio.timeout(_LEAVE_LIMIT_S):
            await hub.until(lambda: not hub.connections)
    except TimeoutError:
        log.event(
            "warning",
            "unread",
            said="clients were left before they had read everything",
            connections=len(hub.connections),
        )
    exit_code = Exit.CUT_SHORT if again in done and calls_cut else Exit.CLEAN
    why = exit_code.sentence
    if exit_code is Exit.CLEAN and calls_cut:
        why = f"Stopped as asked; the drain limit of {drain_s:g} s cut {calls_cut} calls."
    app.close_prompts()
    log.event("info", "stopped", why=why, calls_cut=calls_cut, exit_code=int(exit_code))
    return exit_code


async def _watch_places(locks: Sequence[FileLock], log: Log) -> None:
    """Notice folders that were removed or replaced under us, and say it once each."""
    watched = list(locks)
    while True:
        await asyncio.sleep(CHECK_INTERVAL_S)
        for lock in watched[:]:
            if not lock.still_there():
                watched.remove(lock)
                log.event(
                    "error",
                    "folder_lost",
                    folder=str(lock.path.parent),
                    said="removed or replaced while in use: what was in it is lost, and "
                    "another daemon may start there; restart this one",
                )


@contextmanager
def _watched_loop(log: Log) -> Iterator[StallWatcher]:
    """Have stalls of this loop logged with its stack, and errors that nobody caught in it."""

    def report(stall: Stall) -> None:
        log.event("error", "loop_stalled", silent_s=round(stall.silent_s, 3), stack=stall.stack)

    def uncaught(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        log.event(
            "error",
            "loop_error",
            said=context.get("message"),
            traceback="".join(traceback.format_exception(error)) if error is not None else "",
        )

    loop = asyncio.get_running_loop()
    loop.set_exception_handler(uncaught)
    watcher = StallWatcher(report)
    watcher.start(loop)
    try:
        yield watcher
    finally:
        watcher.stop()


@contextmanager
def _signals(reload: Callable[[], None]) -> Iterator[asyncio.Queue[int]]:
    """Give a queue of the signals that ask to stop; SIGHUP asks for a reload."""
    loop = asyncio.get_running_loop()
    arrived: asyncio.Queue[int] = asyncio.Queue()
    for number in _SIGNALS:
        loop.add_signal_handler(number, arrived.put_nowait, number)
    loop.add_signal_handler(signal.SIGHUP, reload)
    try:
        yield arrived
    finally:
        for number in (*_SIGNALS, signal.SIGHUP):
            loop.remove_signal_handler(number)
