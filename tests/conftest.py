"""What holds for every test: no real network, a clean environment, honest skips.

Fixtures of one level live with that level, not here.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import importlib.util
import inspect
import os
from collections.abc import Callable, Coroutine, Iterator, Mapping
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import uvloop

from tests.left_out import MAY_BE_LEFT_OUT
from tests.support import untraced

GUARD = Path(__file__).parent / "guard" / "sitecustomize.py"

#: What a developer's shell or a service manager may have set, and no test may depend on.
FOREIGN_VARIABLES = (
    "SUTLER_SOCKET",
    "XDG_RUNTIME_DIR",
    "XDG_STATE_HOME",
    "XDG_CACHE_HOME",
    "STATE_DIRECTORY",
    "CACHE_DIRECTORY",
    "RUNTIME_DIRECTORY",
    "CREDENTIALS_DIRECTORY",
    "NOTIFY_SOCKET",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
    "LISTEN_FDS",
    "LISTEN_PID",
    "LISTEN_FDNAMES",
    "http_proxy",
    "https_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "all_proxy",
)


def _load_guard() -> Any:
    spec = importlib.util.spec_from_file_location("network_guard", GUARD)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _guard_uvloop(guard: Any) -> None:
    """Do for uvloop, which resolves and connects in C, what the guard does for sockets."""
    create_connection = uvloop.Loop.create_connection
    getaddrinfo = uvloop.Loop.getaddrinfo

    async def checked_connection(
        self: uvloop.Loop, factory: Any, host: Any = None, port: Any = None, **kwargs: Any
    ) -> Any:
        guard.check_host(host)
        return await create_connection(self, factory, host, port, **kwargs)

    async def checked_lookup(self: uvloop.Loop, host: Any, port: Any, **kwargs: Any) -> Any:
        guard.check_host(host)
        return await getaddrinfo(self, host, port, **kwargs)

    setattr(uvloop.Loop, "create_connection", checked_connection)  # noqa: B010  mypy forbids
    setattr(uvloop.Loop, "getaddrinfo", checked_lookup)  # noqa: B010  plain assignment


def _clean_environment() -> None:
    for name in list(os.environ):
        if name in FOREIGN_VARIABLES or name.endswith("_API_KEY"):
            del os.environ[name]
    inherited = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    kept = [entry for entry in inherited if entry and entry != str(GUARD.parent)]
    os.environ["PYTHONPATH"] = os.pathsep.join([str(GUARD.parent), *kept])


_clean_environment()
_guard_uvloop(_load_guard())

# Times are not asserted anywhere, so a slow machine must not fail a property test either.
hypothesis.settings.register_profile(
    "suite",
    deadline=None,
    print_blob=True,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("suite")

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Run a test on asyncio's own loop, or on each one that its marker ``loop`` names."""
    marker = item.get_closest_marker("loop")
    names = marker.args if marker is not None else ("asyncio",)
    return {name: LOOPS[name] for name in names}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Give coroutine tests a time limit that uvloop hears of: it waits in C, where the signal
    of pytest-timeout is not handled until something else happens."""
    default_s = float(config.getini("timeout"))
    for item in items:
        if isinstance(item, pytest.Function) and inspect.iscoroutinefunction(item.obj):
            marker = item.get_closest_marker("timeout")
            limit_s = float(marker.args[0]) if marker is not None and marker.args else default_s
            item.obj = _limited(item.obj, limit_s * 0.95)


def _limited(
    test: Callable[..., Coroutine[Any, Any, None]], limit_s: float
) -> Callable[..., Coroutine[Any, Any, None]]:
    @functools.wraps(test)
    async def limited(*args: Any, **kwargs: Any) -> None:
        async with asyncio.timeout(limit_s):
            await test(*args, **kwargs)

    return limited


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Leave coverage's tracer out where it only slows; with what the fixtures begin."""
    heavy = item.nodeid.startswith(untraced.HEAVY)
    with untraced.untraced() if heavy else contextlib.nullcontext():
        return (yield)


_skipped: dict[str, str] = {}


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.skipped and isinstance(report.longrepr, tuple):
        _skipped[report.nodeid] = str(report.longrepr[2]).removeprefix("Skipped: ")


def _not_allowed() -> dict[str, str]:
    return {
        test: reason
        for test, reason in _skipped.items()
        if not any(test.startswith(allowed) for allowed in MAY_BE_LEFT_OUT)
    }


@pytest.hookimpl(wrapper=True)
def pytest_sessionfinish(session: pytest.Session) -> Iterator[None]:
    """Fail CI's run, where every part is installed, if a test was skipped all the same."""
    if os.environ.get("CI") and _not_allowed() and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
    return (yield)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say loudly what was left out."""
    if not _skipped:
        return
    terminalreporter.section("LEFT OUT on this machine", sep="!", yellow=True)
    by_reason: dict[str, list[str]] = {}
    for test, reason in sorted(_skipped.items()):
        by_reason.setdefault(reason, []).append(test)
    for reason, tests in by_reason.items():
        terminalreporter.write_line(
            f"{reason}  ({len(tests)}: {tests[0]}{' …' * (len(tests) > 1)})"
        )
    if os.environ.get("CI"):
        for test in _not_allowed():
            terminalreporter.write_line(f"MUST NOT BE LEFT OUT HERE: {test}", red=True)
