"""What serves by one configuration, from its start to the end of the last call begun with it.

A reload begins a new generation. Calls under way go on with the older one: its routes, its
keys, its prices. A provider is left when no generation that is alive has it any more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from contextlib import AsyncExitStack
from typing import Any, Self

from sutlerd.domain.ports import EventLog
from sutlerd.providers.contract import Provider
from sutlerd.system.tasks import Tasks


class Generation:
    """The tasks that work by one configuration. ``over`` is called once, when it is retired
    and the last of them has ended."""

    def __init__(
        self, providers: Iterable[Provider], tasks: Tasks, over: Callable[[Generation], None]
    ) -> None:
        self.providers = tuple(providers)
        self.open_count = 0
        self._tasks = tasks
        self._over = over
        self._retired = False

    def spawn(self, coroutine: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Start a task that the daemon owns and that belongs to this generation."""
        self.open_count += 1
        return self._tasks.start(coroutine, name, self._ended)

    def retire(self) -> None:
        """Begin nothing new: another generation serves from now on."""
        if not self._retired:
            self._retired = True
            if not self.open_count:
                self._over(self)

    def _ended(self) -> None:
        self.open_count -= 1
        if self._retired and not self.open_count:
            self._over(self)


class Generations:
    """A context manager that owns the providers of all generations that are alive."""

    def __init__(self, tasks: Tasks, log: EventLog) -> None:
        self._tasks = tasks
        self._log = log
        self._alive: list[Generation] = []
        self._entered: dict[int, Provider] = {}

    @property
    def alive_count(self) -> int:
        return len(self._alive)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        async with AsyncExitStack() as stack:
            while self._entered:
                stack.push_async_exit(self._entered.popitem()[1])

    async def enter(self, providers: Iterable[Provider]) -> None:
        """Enter those that are not in use yet: all, or none where one of them raises."""
        fresh = [each for each in providers if id(each) not in self._entered]
        async with AsyncExitStack() as stack:
            for provider in fresh:
                await stack.enter_async_context(provider)
            stack.pop_all()
        self._entered.update({id(provider): provider for provider in fresh})

    def begin(self, providers: Iterable[Provider]) -> Generation:
        """Begin with providers that were entered, and retire what served until now."""
        generation = Generation(providers, self._tasks, self._over)
        older = self._alive[:]
        self._alive.append(generation)
        for each in older:
            each.retire()
        return generation

    def _over(self, ended: Generation) -> None:
        self._alive.remove(ended)
        in_use = {id(provider) for each in self._alive for provider in each.providers}
        for provider in ended.providers:
            if id(provider) not in in_use and self._entered.pop(id(provider), None) is not None:
                self._tasks.start(self._leave(provider), f"leave {provider.name}")

    async def _leave(self, provider: Provider) -> None:
        await provider.__aexit__(None, None, None)
        self._log.event("info", "provider_left", provider=provider.name)
