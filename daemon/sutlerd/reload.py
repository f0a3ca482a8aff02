"""Another configuration for a running daemon: checked whole, told, and taken over at once.

One that is wrong changes nothing and says why, in the log, in ``status`` and to who asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from sutlerd.app import App
from sutlerd.config.differences import Change, differences, keep_until_restart
from sutlerd.config.loader import Loaded
from sutlerd.config.problems import ConfigError
from sutlerd.config.schema import Config
from sutlerd.domain.errors import ShuttingDown
from sutlerd.domain.ports import Clock
from sutlerd.domain.record import record
from sutlerd.server.doorkeeper import Doorkeeper
from sutlerd.server.services import Control
from sutlerd.system.access import Access, access_from
from sutlerd.system.exits import CannotStart
from sutlerd.system.notify import Notifier
from sutlerd.telemetry.logs import Log


@record
class Outcome:
    """How a reload ended. ``problems`` say why nothing was changed; without any it was."""

    when_unix_s: float
    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    changes: tuple[Change, ...] = ()

    @property
    def sentence(self) -> str:
        if self.problems:
            return f"reload refused, the old configuration stays: {self.problems[0]}"
        waiting = sum(1 for change in self.changes if change.waits is not None)
        rest = f", {waiting} of them after a restart" if waiting else ""
        return f"reloaded: {len(self.changes)} settings changed{rest}"

    def to_wire(self) -> dict[str, Any]:
        return {
            "applied": not self.problems,
            "when_unix_s": round(self.when_unix_s, 3),
            "problems": list(self.problems),
            "warnings": list(self.warnings),
            "changes": [change.to_wire() for change in self.changes],
        }


def access_of(config: Config, own_uid: int) -> Access:
    """Look up who may call. Raises ``CannotStart`` with every name that nobody has."""
    access = config.access
    return access_from(
        users=access.users,
        groups=access.groups,
        operator_users=access.operators.users,
        operator_groups=access.operators.groups,
        own_uid=own_uid,
    )


class Reloading:
    """``load`` reads the configuration once more; it may take its time, and is not run on the
    event loop. ``ready`` is the status line of a daemon that serves."""

    def __init__(
        self,
        *,
        app: App,
        doorkeeper: Doorkeeper,
        load: Callable[[], Loaded],
        own_uid: int,
        notifier: Notifier,
        ready: str,
        clock: Clock,
        log: Log,
    ) -> None:
        self._app = app
        self._doorkeeper = doorkeeper
        self._load = load
        self._own_uid = own_uid
        self._notifier = notifier
        self._ready = ready
        self._clock = clock
        self._log = log
        self._one_at_a_time = asyncio.Lock()
        self._wanted = asyncio.Event()
        self.last: Outcome | None = None

    def control(self, drain: Callable[[], None]) -> Control:
        """Give what operators' methods act by; ``drain`` begins the daemon's stop."""

        async def reload() -> dict[str, Any]:
            return (await self.reload()).to_wire()

        return Control(
            reload=reload,
            drain=drain,
            last_reload=lambda: None if self.last is None else self.last.to_wire(),
        )

    def ask(self) -> None:
        """Have it reloaded soon; asked for often, it is done once more after the last time."""
        self._wanted.set()

    async def serve(self) -> None:
        """Reload whenever ``ask`` was called."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            try:
                await self.reload()
            except ShuttingDown:
                return

    async def reload(self) -> Outcome:
        """Read, check and take over the configuration as it is now. Raises ``ShuttingDown``."""
        async with self._one_at_a_time:
            if self._app.hub.draining:
                raise ShuttingDown("the daemon is stopping: the next one reads it at its start")
            self._notifier.reloading()
            try:
                self.last = outcome = await self._reload()
            finally:
                if not self._app.hub.draining:
                    self._notifier.ready(self._ready)
            self._notifier.status(f"{self._ready}; {outcome.sentence}")
            return outcome

    async def _reload(self) -> Outcome:
        try:
            loaded = await asyncio.to_thread(self._load)
            changes = differences(self._app.config, loaded.config)
            config = keep_until_restart(self._app.config, loaded.config)
            access = access_of(config, self._own_uid)
            # Before anything new can fail with a new key in its mouth.
            self._log.secrets(loaded.secrets)
            await self._app.adopt(config)
        except ConfigError as error:
            return self._refused(*(str(problem) for problem in error.problems))
        except CannotStart as refusal:
            return self._refused(refusal.message)
        self._doorkeeper.go_by(access)
        self._log.set_level(config.daemon.log_level)
        for warning in loaded.warnings:
            level = "error" if warning.loud else "warning"
            self._log.event(level, "configuration", said=str(warning))
        outcome = Outcome(
            when_unix_s=self._clock.unix_s(),
            warnings=(*map(str, loaded.warnings), *self._app.prompt_problems()),
            changes=changes,
        )
        for change in changes:
            self._log.event("info", "changed", said=str(change))
        self._log.event("info", "reloaded", said=outcome.sentence)
        return outcome

    def _refused(self, *problems: str) -> Outcome:
        for problem in problems:
            self._log.event("error", "configuration", said=problem)
        outcome = Outcome(when_unix_s=self._clock.unix_s(), problems=problems)
        self._log.event("error", "reload_refused", problems=len(problems))
        return outcome
