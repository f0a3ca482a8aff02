"""``count_tokens``: how many model tokens a text or a prompt is, and how sure that is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import orjson

from sutlerd.domain.errors import InvalidParams, ProviderError, ProviderUnavailable
from sutlerd.domain.ports import Clock
from sutlerd.pipeline.messages import check_messages
from sutlerd.pipeline.player import Player
from sutlerd.pipeline.question import Question, count_asked, key_of
from sutlerd.pipeline.resolve import Resolver
from sutlerd.pipeline.route import Router
from sutlerd.pipeline.tape import Tape
from sutlerd.providers.contract import AttemptFailed, Provider, Verdict

if TYPE_CHECKING:
    from sutlerd.pipeline.params import CountTokensParams


class Counting:
    def __init__(
        self,
        *,
        resolver: Resolver,
        router: Router,
        providers: Mapping[str, Provider],
        clock: Clock,
        tape: Tape | None = None,
    ) -> None:
        self._resolver = resolver
        self._router = router
        self._providers = providers
        self._clock = clock
        self._tape = tape

    async def count(self, params: CountTokensParams) -> dict[str, Any]:
        """Give ``{tokens, exact, method, model, provider}``. Raises ``CallError``."""
        if self._tape is None:
            return await self._count(params)
        said = count_asked(params, params.messages or ())
        asked = Question(asked=said, key=key_of(said))
        if isinstance(self._tape, Player):
            # Counted as often as one likes: a count is the same each time.
            counted: dict[str, Any] = orjson.loads(self._tape.play_any(asked))
            return counted
        asking = self._tape.begin(asked)
        counted = await self._count(params)
        self._tape.keep(asked, asking, orjson.dumps(counted))
        return counted

    async def _count(self, params: CountTokensParams) -> dict[str, Any]:
        if (params.text is None) == (params.messages is None):
            raise InvalidParams("params: give either text or messages")
        asked: str | tuple[dict[str, Any], ...]
        if params.text is not None:
            asked = params.text
        else:
            assert params.messages is not None
            asked, problems = check_messages(params.messages)
            if problems:
                raise InvalidParams(problems)
        route = self._router.chain(model=params.model, provider=params.provider, fallback=None)[0]
        deadline_s = self._resolver.deadline_s(params.timeout_s, self._clock.monotonic_s())
        try:
            count = await self._providers[route.provider].count_tokens(
                asked, route.model, deadline_s=deadline_s, ask_provider=params.ask_provider
            )
        except AttemptFailed as failure:
            kind = ProviderUnavailable if failure.verdict is Verdict.RETRY else ProviderError
            raise kind(f"{route}: {failure.message}") from None
        return {
            "tokens": count.tokens,
            "exact": count.exact,
            "method": count.method,
            "model": route.model,
            "provider": route.provider,
        }
