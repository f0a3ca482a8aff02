"""What loads and still wants saying: off, not yet in force, retired, not installed. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import date
from typing import Final

from sutlerd.config.checks import must_be_set
from sutlerd.config.in_force import IN_FORCE, Standing
from sutlerd.config.materialise import Unset
from sutlerd.config.problems import Path
from sutlerd.config.retired import retirement
from sutlerd.config.schema import Config
from sutlerd.domain.record import record


@record
class Notice:
    path: Path
    message: str
    loud: bool = False


@record
class Extra:
    """A part that is installed separately; ``module`` is what shows whether it is."""

    name: str
    module: str
    path: Path
    without: str


_EXTRAS: Final = (
    (
        lambda config: any(p.kind == "embedded" for p in config.llm.providers.values()),
        Extra(
            name="local",
            module="xllamacpp",
            path=("llm", "providers", "embedded"),
            without="the embedded model cannot run",
        ),
    ),
    (
        lambda config: config.llm.cache.backend == "redis" and config.llm.cache.redis_url,
        Extra(
            name="redis",
            module="redis",
            path=("llm", "cache", "backend"),
            without="answers stay on this node's disk",
        ),
    ),
    (
        lambda config: config.llm.monitoring.tracing.enabled,
        Extra(
            name="otel",
            module="opentelemetry.proto",
            path=("llm", "monitoring", "tracing"),
            without="no traces are sent",
        ),
    ),
)

HasModule = Callable[[str], bool]


def missing_extras(config: Config, has_module: HasModule) -> tuple[Extra, ...]:
    """List the extras that the configuration asks for, are in force, and are not there."""
    return tuple(
        extra
        for wanted, extra in _EXTRAS
        if wanted(config) and _in_force(extra.path) and not has_module(extra.module)
    )


def notices(
    config: Config,
    *,
    written: Collection[Path],
    unset: list[Unset],
    extras: tuple[Extra, ...],
    today: date,
) -> Iterator[Notice]:
    """Yield all warnings. ``written`` are the paths that the file has."""
    yield from _not_in_force(config, written)
    yield from _off(config)
    yield from _retired(config, today)
    for gap in unset:
        if gap.path[-1:] != ("api_key",) and not must_be_set(gap.path):
            yield Notice(path=gap.path, message=f"{gap.origin} is not set: left out")
    for extra in extras:
        said = f"not installed, so {extra.without}; pip install 'sutlerd[{extra.name}]'"
        yield Notice(path=extra.path, message=said)
    cache = config.llm.cache
    if cache.enabled and cache.backend == "redis" and cache.redis_url is None:
        yield Notice(
            path=("llm", "cache", "backend"),
            message="redis_url is not given: answers stay on this node's disk, unshared",
        )


def _not_in_force(config: Config, written: Collection[Path]) -> Iterator[Notice]:
    said: set[Path] = set()
    for path in written:
        found = _standing(path)
        if found is None or found[1].in_force:
            continue
        length, standing = found
        place = path[:length]
        if place not in said and not _switched_off(config, place):
            said.add(place)
            yield Notice(
                path=place,
                message=f"not in force in this version: {standing.without}",
                loud=standing.loud,
            )


def _standing(path: Path) -> tuple[int, Standing] | None:
    """Find the longest entry of the table that leads to ``path``, with its length."""
    best: tuple[int, Standing] | None = None
    for pattern, standing in IN_FORCE.items():
        parts = pattern.split(".")
        if len(parts) > len(path) or (best is not None and len(parts) <= best[0]):
            continue
        if all(want in ("*", part) for want, part in zip(parts, path, strict=False)):
            best = len(parts), standing
    return best


def _in_force(path: Path) -> bool:
    found = _standing(path)
    return found is None or found[1].in_force


def _switched_off(config: Config, path: Path) -> bool:
    """Whether a group says ``enabled: false``, or holds nothing, so that nobody misses it."""
    value: object = config
    for part in path:
        if isinstance(value, Mapping):
            value = value.get(part)
        else:
            value = getattr(value, str(part), None)
    return not value or getattr(value, "enabled", True) is False


def _off(config: Config) -> Iterator[Notice]:
    reasons = {name: config.off(name) for name in config.llm.providers}
    for name, reason in reasons.items():
        if reason is not None and config.llm.providers[name].enabled:
            path: Path = ("llm", "providers", name)
            yield Notice(path=path, message=f"is off: {reason}")
    chain = (config.llm.default_provider, *config.llm.fallback_providers)
    if all(reasons.values()):
        said = "NO PROVIDER CAN BE USED: every call that is not in the cache will fail"
        yield Notice(path=("llm", "providers"), message=said, loud=True)
    elif all(reasons[name] for name in chain):
        said = "NO ROUTE IS LEFT for calls that name no model and no provider: they will fail"
        yield Notice(path=("llm", "default_provider"), message=said, loud=True)


def _retired(config: Config, today: date) -> Iterator[Notice]:
    for name, provider in config.llm.providers.items():
        for index, model in enumerate(provider.models):
            known = retirement(provider.kind, model)
            if known is None:
                continue
            when = known.last_day.isoformat()
            gone = known.last_day <= today
            verb = f"was shut down on {when}" if gone else f"will be shut down on {when}"
            yield Notice(
                path=("llm", "providers", name, "models", index),
                message=f"model {model} {verb}; use {known.successor}",
            )
