"""The configured providers: which there are, which are off and why.

Building is cheap and silent: nothing is imported that is heavy, nothing contacted. A provider
that cannot be used is left out with a reason an operator can act on; the others go on.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime

from sutlerd.config.loader import proxy_passwords
from sutlerd.config.retired import RETIRED
from sutlerd.config.schema import Config, ProviderConfig
from sutlerd.config.schema_provider import EndpointConfig
from sutlerd.domain.ports import Clock, EventLog
from sutlerd.providers.address import Address, Proxy, parse_address, proxy_for
from sutlerd.providers.contract import Provider
from sutlerd.providers.counting import LocalCounter
from sutlerd.providers.embedded import EmbeddedProvider
from sutlerd.providers.endpoint import SILENCE_S, Endpoint, EndpointSettings
from sutlerd.providers.kinds import KINDS, Spoken, traits_function
from sutlerd.providers.model_table import gone
from sutlerd.providers.pool import Pool
from sutlerd.providers.transport import Transport
from sutlerd.providers.transport_lean import LeanTransport
from sutlerd.providers.transport_sdk import SdkTransport
from sutlerd.telemetry.redact import Redactor


class Providers(Mapping[str, Provider]):
    """Those in service, by name, in configured order; ``off`` tells why others are not.

    ``keyless`` are those among the others that want nothing but a key: never entered and never
    asked, they know what an answer of theirs is stored under.
    """

    def __init__(
        self,
        in_service: Mapping[str, Provider],
        off: Mapping[str, str],
        keyless: Mapping[str, Provider] | None = None,
    ) -> None:
        self._in_service = dict(in_service)
        self.off = dict(off)
        self.keyless = dict(keyless or {})

    def __getitem__(self, name: str) -> Provider:
        return self._in_service[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._in_service)

    def __len__(self) -> int:
        return len(self._in_service)


def build_providers(
    config: Config,
    *,
    clock: Clock,
    log: EventLog,
    environ: Mapping[str, str] | None = None,
    kept: Mapping[str, Provider] | None = None,
) -> Providers:
    """Build what the configuration names. ``environ`` is looked at for proxies; ``kept`` are
    taken over as they are."""
    environ = os.environ if environ is None else environ
    mask = Redactor((*config.secret_values(), *proxy_passwords(environ))).text
    builder = _Builder(config, clock=clock, log=log, mask=mask, environ=environ)
    in_service: dict[str, Provider] = {}
    off: dict[str, str] = {}
    keyless: dict[str, Provider] = {}
    for name, settings in config.llm.providers.items():
        if kept is not None and name in kept:
            in_service[name] = kept[name]
            continue
        try:
            in_service[name] = builder.build(name, settings)
        except _Off as reason:
            off[name] = str(reason)
            log.event("warning", "provider_off", provider=name, reason=str(reason))
            if settings.lacks_key and settings.kind in KINDS:
                keyless[name] = builder.keyless(name, settings)
    return Providers(in_service, off, keyless)


class _Off(Exception):
    """A provider cannot be used; the text says why and what mends it."""


class _Builder:
    def __init__(
        self,
        config: Config,
        *,
        clock: Clock,
        log: EventLog,
        mask: Callable[[str], str],
        environ: Mapping[str, str],
    ) -> None:
        self._config = config
        self._clock = clock
        self._log = log
        self._mask = mask
        self._environ = environ
        self._counter = LocalCounter(log=log)

    def build(self, name: str, settings: ProviderConfig) -> Provider:
        reason = self._config.off(name)
        if reason is not None:
            raise _Off(reason)
        if settings.kind == "embedded":
            return EmbeddedProvider(
                name=name,
                settings=settings,
                config=self._config.embedded,
                clock=self._clock,
                log=self._log,
                environ=self._environ,
            )
        if settings.kind not in KINDS:
            raise _Off(f"this build has no dialect for kind {settings.kind}")
        if not settings.endpoints:
            return self._endpoint(name, settings)
        return self._pool(name, settings)

    def _pool(self, name: str, settings: ProviderConfig) -> Provider:
        """Build all endpoints of a provider; one that cannot be used is left out, and told."""
        reasons: list[str] = []
        endpoints = []
        for member in (settings, *(_member(settings, more) for more in settings.endpoints)):
            try:
                endpoints.append(self._endpoint(name, member))
            except _Off as off:
                reasons.append(str(off))
        if not endpoints:
            raise _Off("; ".join(reasons))
        for reason in reasons:
            self._log.event("warning", "endpoint_off", provider=name, reason=reason)
        return endpoints[0] if len(endpoints) == 1 else Pool(endpoints, clock=self._clock)

    def _endpoint(self, name: str, settings: ProviderConfig) -> Endpoint:
        if settings.api_key is not None and not settings.api_key.is_set:
            raise _Off(f"{settings.api_key.origin} is not set")
        spoken = KINDS[settings.kind](name, settings)
        try:
            address = parse_address(spoken.base_url or settings.base_url)
            proxy = proxy_for(address, self._environ)
        except ValueError as error:
            raise _Off(f"base_url or its proxy cannot be used: {error}") from None
        transport = self._transport(settings, spoken, address, proxy)
        return self._joined(name, settings, spoken, address, transport)

    def keyless(self, name: str, settings: ProviderConfig) -> Endpoint:
        """Build what knows the spelling of a provider's requests and is never to send one."""
        settings = settings.model_copy(update={"api_key": None, "headers": {}})
        spoken = KINDS[settings.kind](name, settings)
        nowhere = parse_address("http://localhost")
        transport = LeanTransport(nowhere, headers={}, clock=self._clock, proxy=None)
        return self._joined(name, settings, spoken, nowhere, transport)

    def _joined(
        self,
        name: str,
        settings: ProviderConfig,
        spoken: Spoken,
        address: Address,
        transport: Transport,
    ) -> Endpoint:
        timeout_s = settings.timeout_seconds
        return Endpoint(
            settings=EndpointSettings(
                name=name,
                address=str(address),
                transport=settings.transport,
                default_model=settings.default_model,
                models=settings.models,
                embed_models=settings.embed_models,
                timeout_s=timeout_s,
                silence_s=max(SILENCE_S, timeout_s) if spoken.loads_models else SILENCE_S,
                # The packages are only made to post.
                models_path=spoken.models_path if settings.transport == "lean" else None,
                openai_models=spoken.openai_models,
                counts_if_asked=spoken.counts_if_asked,
            ),
            dialect=spoken.dialect,
            transport=transport,
            traits=traits_function(settings, spoken),
            clock=self._clock,
            mask=self._mask,
            counter=self._counter,
            gone=self._gone(settings),
        )

    def _gone(self, settings: ProviderConfig) -> Callable[[str], str | None] | None:
        """Give what tells of the vendor's own models that were shut down by today."""
        if settings.kind not in RETIRED:
            return None

        def gone_by_now(model: str) -> str | None:
            today = datetime.fromtimestamp(self._clock.unix_s(), UTC).date()
            return gone(settings, model, today)

        return gone_by_now

    def _transport(
        self, settings: ProviderConfig, spoken: Spoken, address: Address, proxy: Proxy | None
    ) -> Transport:
        api_key = settings.api_key.reveal() if settings.api_key is not None else None
        unset = [header.origin for header in settings.headers.values() if not header.is_set]
        if unset:
            raise _Off(f"{unset[0]} is not set, and a header needs it")
        headers = {name: value.reveal() for name, value in settings.headers.items()}
        if settings.transport == "lean":
            fixed = spoken.dialect.auth_headers(api_key)
            return LeanTransport(
                address,
                headers={**fixed, **headers},
                clock=self._clock,
                proxy=proxy,
            )
        if spoken.load_sdk is None:
            raise _Off(f"there is no package for kind {settings.kind}: set transport: lean")
        return SdkTransport(
            address,
            package=spoken.package,
            load=spoken.load_sdk(address, api_key=api_key, headers=headers, proxy=proxy),
            clock=self._clock,
            log=self._log,
            proxy=proxy,
        )


def _member(settings: ProviderConfig, more: EndpointConfig) -> ProviderConfig:
    """Give a provider's settings with what one of its further endpoints has of its own."""
    own = {
        "base_url": more.base_url or settings.base_url,
        "api_key": more.api_key or settings.api_key,
        "headers": {**settings.headers, **more.headers},
    }
    return settings.model_copy(update=own)
