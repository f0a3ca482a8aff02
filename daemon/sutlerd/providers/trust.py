"""Whether the authorities are there that providers' certificates are checked against."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from sutlerd.config.schema_provider import ProviderConfig
from sutlerd.domain.ports import EventLog


async def tell_of_trust(providers: Mapping[str, ProviderConfig], log: EventLog) -> None:
    """Say in the log if nobody could be trusted and somebody would have to be.

    Reads files and imports ``ssl``, in a thread: nobody who starts waits for it.
    """
    secure = sorted(
        name
        for name, settings in providers.items()
        for address in (settings.base_url, *(each.base_url for each in settings.endpoints))
        if address is not None and address.startswith("https:")
    )
    if not secure:
        return
    problem = await asyncio.to_thread(_problem)
    if problem is not None:
        log.event("error", "no_trust", said=problem, providers=", ".join(dict.fromkeys(secure)))


def _problem() -> str | None:
    from sutlerd.providers.dialing import trust_problem

    return trust_problem()
