"""Texts that are bought together, and the journey they make."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from sutlerd.domain.call import EmbedRequest, Route
from sutlerd.domain.errors import CallError, Overloaded
from sutlerd.domain.ports import Clock
from sutlerd.domain.record import record
from sutlerd.domain.reply import Embedded
from sutlerd.ledger.reservation import Named, Reservation
from sutlerd.pipeline.embed_result import Vector
from sutlerd.pipeline.journey import Leg
from sutlerd.pipeline.places import Asker
from sutlerd.pipeline.till import Bill
from sutlerd.pipeline.tried import Tried
from sutlerd.pipeline.under_way import MAX_IDS_A_FLIGHT
from sutlerd.providers.contract import Provider

_BYTES_PER_TOKEN = 2


class Batch:
    """Texts that are bought together, and those who wait for any of them.

    ``ttl_s`` is for how long they are stored, 0 if nobody who waits lets them be. ``askers``
    are the requests with an id that have joined since it was opened. ``left_for`` is why the
    last that waited left.
    """

    def __init__(
        self, texts: Mapping[bytes, str], dimensions: int | None, extra: dict[str, Any]
    ) -> None:
        self.texts = dict(texts)
        self.dimensions = dimensions
        self.extra = extra
        self.ttl_s = 0.0
        self.waiters = 0
        self.paid: list[Reservation] = []
        self.askers: list[Named] = []
        self._asked: set[tuple[int, str]] = set()
        self.patience_until_s = 0.0
        self.left_for: CallError | None = None
        self.vectors: dict[bytes, Vector] = {}
        self.embedded: Embedded | None = None
        self.cost_nanousd: int | None = 0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.tried: list[Tried] = []
        self.traceparent: str | None = None
        self.task: asyncio.Task[None] | None = None

    def is_shared_by(self, asker: Named) -> bool:
        """Tell whether it knows a request already. Raises ``Overloaded`` if not, and it knows
        as many as it can."""
        if (asker.uid, asker.request_id) in self._asked:
            return True
        if len(self._asked) >= MAX_IDS_A_FLIGHT:
            raise Overloaded("too many requests share these same texts", retry_after_s=1.0)
        return False

    def share(self, asker: Named) -> None:
        """Note a request with an id that joins, here and where the batch is paid for."""
        self._asked.add((asker.uid, asker.request_id))
        self.askers.append(asker)
        for reservation in self.paid:
            reservation.write_askers()


def share(batches: Iterable[Batch], asker: Named) -> None:
    """Note a request in each of these that does not know it, or, with ``Overloaded``, in none."""
    for batch in [each for each in batches if not each.is_shared_by(asker)]:
        batch.share(asker)


@record
class BatchJourney:
    batch: Batch
    asker: Asker
    opened_by: Bill
    providers: Mapping[str, Provider]
    clock: Clock

    @property
    def bill(self) -> Bill:
        return replace(self.opened_by, askers=self.batch.askers)

    @property
    def max_tokens_out(self) -> int:
        return 0

    @property
    def was_heard(self) -> bool:
        return False

    @property
    def is_deserted(self) -> bool:
        return not self.batch.waiters

    @property
    def paid(self) -> list[Reservation]:
        return self.batch.paid

    @property
    def tried(self) -> list[Tried]:
        return self.batch.tried

    @property
    def streams(self) -> bool:
        return False

    def time_left_s(self) -> float:
        return self.batch.patience_until_s - self.clock.monotonic_s()

    def leg(self, route: Route) -> Leg:
        request = EmbedRequest(
            texts=tuple(self.batch.texts.values()),
            dimensions=self.batch.dimensions,
            extra=self.batch.extra,
        )
        built = self.providers[route.provider].build_embed(request, route.model)
        return Leg(route=route, built=built)

    async def known(self, leg: Leg) -> bytes | None:
        return None  # texts are looked up one by one, before they are bought together

    async def once(
        self, provider: Provider, leg: Leg, *, deadline_s: float, heard: Callable[[], None]
    ) -> Embedded:
        return await provider.embed(leg.built, deadline_s=deadline_s)


def portions(
    texts: Mapping[bytes, str], *, max_texts: int, max_tokens: int | None
) -> Iterator[dict[bytes, str]]:
    """Split texts, in their order, into what one request may hold.

    Tokens are not counted but bounded: few texts have more than one for two bytes.
    """
    portion: dict[bytes, str] = {}
    tokens = 0
    for key, text in texts.items():
        more = len(text.encode()) // _BYTES_PER_TOKEN + 1
        full = max_tokens is not None and tokens + more > max_tokens
        if portion and (len(portion) == max_texts or full):
            yield portion
            portion, tokens = {}, 0
        portion[key] = text
        tokens += more
    if portion:
        yield portion
