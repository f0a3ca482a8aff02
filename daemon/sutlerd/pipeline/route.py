"""Which places a call may be answered at: names of the wire into a chain of routes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from sutlerd.domain.call import Route
from sutlerd.domain.errors import InvalidParams
from sutlerd.pipeline.nearest import nearest


class Listed(Protocol):
    """What routing needs to know of a provider."""

    @property
    def name(self) -> str: ...

    @property
    def default_model(self) -> str: ...

    @property
    def models(self) -> Sequence[str]: ...

    @property
    def embed_models(self) -> Sequence[str]: ...


class Router:
    """The configured names. ``providers`` are those in service, in configured order.

    ``off`` tells why a configured provider is not in service. ``fallback`` names the
    providers of the default chain after the first; ``fallback_models`` the model each of
    them answers with when it is not the first choice.
    """

    def __init__(
        self,
        *,
        providers: Iterable[Listed],
        off: dict[str, str],
        default_provider: str,
        default_model: str | None,
        fallback: Sequence[str],
        fallback_models: dict[str, str],
        aliases: dict[str, str],
    ) -> None:
        self._providers = {provider.name: provider for provider in providers}
        self._off = off
        self._default_provider = default_provider
        self._default_model = default_model
        self._fallback = fallback
        self._fallback_models = fallback_models
        self._aliases = aliases
        self._default = tuple(dict.fromkeys(self._default_routes()))

    def chain(
        self,
        *,
        model: str | None,
        provider: str | None,
        fallback: bool | Sequence[str] | None,
    ) -> tuple[Route, ...]:
        """Give the routes to try, in order, at least one. Raises ``InvalidParams``."""
        named = model is not None or provider is not None
        if not named and fallback is None and self._default:
            return self._default
        chain = [self._named(model, provider)] if named else self._default_chain()
        if fallback is False and not named and self._default_provider not in self._providers:
            # What is off is left out of a chain, and a call that may not fall back has one of one.
            why = self._off.get(self._default_provider, "not configured")
            raise InvalidParams(
                f"{self._default_provider}, the default provider, is off ({why}), and this call "
                "may not fall back"
            )
        if fallback is False:
            del chain[1:]
        elif fallback is True and named:
            # The same provider would be the same key and the same quota once more.
            others = self._default_routes()
            chain += [route for route in others if route.provider != chain[0].provider]
        elif isinstance(fallback, (list, tuple)):
            chain = chain[:1] + [self._named(route, None) for route in fallback]
        return tuple(dict.fromkeys(chain))

    def with_others(self, others: Mapping[str, Listed]) -> Router:
        """Give one that takes these, which are off, for being in service."""
        return Router(
            providers=[*self._providers.values(), *others.values()],
            off={name: why for name, why in self._off.items() if name not in others},
            default_provider=self._default_provider,
            default_model=self._default_model,
            fallback=self._fallback,
            fallback_models=self._fallback_models,
            aliases=self._aliases,
        )

    def embed_route(self, *, model: str | None, provider: str | None) -> Route:
        """Give the one route for embeddings; other models' vectors would be another space."""
        if model is not None:
            if provider is None and model in self._providers:
                return self._embeds(model)
            return self._named(model, provider)
        if provider is not None:
            return self._embeds(provider)
        for name in (self._default_provider, *self._fallback, *self._providers):
            listed = self._providers.get(name)
            if listed is not None and listed.embed_models:
                return Route(provider=name, model=listed.embed_models[0])
        raise InvalidParams("params: no provider in service gives embeddings")

    def _embeds(self, name: str) -> Route:
        listed = self._in_service(name)
        if listed.embed_models:
            return Route(provider=name, model=listed.embed_models[0])
        others = [p.name for p in self._providers.values() if p.embed_models]
        hint = f"these do: {', '.join(others)}" if others else "no other one does, either"
        raise InvalidParams(f"params.provider: {name} gives no embeddings; {hint}")

    def _default_chain(self) -> list[Route]:
        chain = self._default_routes()
        if not chain:
            raise InvalidParams(
                f"no provider of the default chain is in service: {self._why_off()}"
            )
        return chain

    def _default_routes(self) -> list[Route]:
        chain = []
        first = self._providers.get(self._default_provider)
        if first is not None:
            model = self._default_model or first.default_model
            chain.append(Route(provider=first.name, model=model))
        return chain + self._fallback_routes()

    def _fallback_routes(self) -> list[Route]:
        return [
            Route(
                provider=name,
                model=self._fallback_models.get(name, self._providers[name].default_model),
            )
            for name in self._fallback
            if name in self._providers
        ]

    def _named(self, model: str | None, provider: str | None) -> Route:
        if provider is not None:
            listed = self._in_service(provider)
            name = model or listed.default_model
            return Route(provider=provider, model=name.removeprefix(f"{provider}/"))
        assert model is not None
        model = self._aliases.get(model, model)
        if model in self._providers or model in self._off:
            return Route(provider=model, model=self._in_service(model).default_model)
        head, slash, rest = model.partition("/")
        if slash and not rest:
            raise InvalidParams(f"params.model: {model[:100]!r} names no model after the slash")
        if slash and (head in self._providers or head in self._off):
            return Route(provider=self._in_service(head).name, model=rest)
        return self._bare(model)

    def _bare(self, model: str) -> Route:
        listing = [p.name for p in self._providers.values() if _lists(p, model)]
        if self._default_provider in listing:
            return Route(provider=self._default_provider, model=model)
        if len(listing) == 1:
            return Route(provider=listing[0], model=model)
        if listing:
            choices = ", ".join(f"{name}/{model}" for name in listing)
            raise InvalidParams(f"params.model: several providers list it; say one of {choices}")
        default = self._providers.get(self._default_provider)
        if default is not None and not default.models:
            return Route(provider=default.name, model=model)
        known = [m for p in self._providers.values() for m in p.models]
        near = nearest(model, known + list(self._providers) + list(self._aliases))
        hint = f"; did you mean {near}?" if near else "; `sutler models` lists what there is"
        refusal = InvalidParams(f"params.model: no provider lists {model[:100]!r}{hint}")
        refusal.data["unknown_model"] = model[:100]
        raise refusal

    def _in_service(self, name: str) -> Listed:
        listed = self._providers.get(name)
        if listed is not None:
            return listed
        if name in self._off:
            raise InvalidParams(f"params: provider {name} is off: {self._off[name]}")
        near = nearest(name, [*self._providers, *self._off])
        hint = f"; did you mean {near}?" if near else ""
        raise InvalidParams(f"params.provider: there is no provider {name[:100]!r}{hint}")

    def _why_off(self) -> str:
        chain = [self._default_provider, *self._fallback]
        return "; ".join(f"{name}: {self._off.get(name, 'not configured')}" for name in chain)


def _lists(listed: Listed, model: str) -> bool:
    return model in listed.models or model in listed.embed_models
