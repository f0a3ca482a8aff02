"""What has to fit together: names that must exist, numbers in order, nothing left open.

Works on the values as written, not on the finished models, so that these faults are told
together with all the others. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from sutlerd.config.materialise import Unset
from sutlerd.config.problems import Path, shown, suggestion
from sutlerd.config.schema import Config
from sutlerd.config.schema_llm import with_providers

Finding = tuple[Path, str]

#: The first must be at most the second, defaults counted in.
_IN_ORDER: Final[tuple[tuple[Path, Path], ...]] = (
    (("limits", "owed_resume_bytes"), ("limits", "owed_pause_bytes")),
    (("limits", "owed_pause_bytes"), ("limits", "owed_max_bytes")),
    (("limits", "line_bytes"), ("limits", "buffered_total_bytes")),
    (("llm", "cache", "ttl_seconds"), ("llm", "cache", "max_ttl_s")),
    (("llm", "timeout_seconds"), ("llm", "max_timeout_s")),
)

#: Money, quota and access: an unset variable here must not quietly mean "no limit".
_MUST_BE_SET: Final[tuple[Path, ...]] = (
    ("access",),
    ("limits",),
    ("daemon", "socket_mode"),
    ("daemon", "socket_group"),
    ("llm", "budget"),
    ("llm", "rate_limits"),
    ("llm", "fairness"),
    ("llm", "prices"),
)
_MAY_BE_UNSET: Final[Path] = ("llm", "budget", "alert_webhook")
_LIMITS: Final = ("daily_limit_usd", "monthly_limit_usd", "total_limit_usd", "rules")


def cross_checks(data: dict[str, Any], unset: list[Unset]) -> Iterator[Finding]:
    """Yield every fault that no single value shows by itself."""
    llm = data.get("llm", {})
    if isinstance(llm, dict):
        yield from _names(llm)
        yield from _aliases(llm)
        yield from _budget(llm)
        yield from _routes(data, llm)
    yield from _orders(data)
    for gap in unset:
        if must_be_set(gap.path):
            yield gap.path, f"{gap.origin} is not set, and without it there would be no limit"


def must_be_set(path: Path) -> bool:
    if path == _MAY_BE_UNSET:
        return False
    if path[:2] == ("llm", "providers") and path[3:4] in (("limits",), ("share",)):
        return True
    return any(path[: len(closed)] == closed for closed in _MUST_BE_SET)


def _names(llm: dict[str, Any]) -> Iterator[Finding]:
    providers = with_providers(llm).get("providers")
    if not isinstance(providers, dict):
        return
    places: list[tuple[Path, Any]] = [(("default_provider",), llm.get("default_provider"))]
    fallbacks = llm.get("fallback_providers")
    if isinstance(fallbacks, list):
        places += [(("fallback_providers", i), name) for i, name in enumerate(fallbacks)]
    for group in ("fallback_models", "rate_limits"):
        if isinstance(written := llm.get(group), dict):
            places += [((group, name), name) for name in written]
    for path, name in places:
        if isinstance(name, str) and name not in providers:
            known = (
                suggestion(name, providers) or f"; there are: {', '.join(map(shown, providers))}"
            )
            yield ("llm", *path), f"no provider '{shown(name)}' is configured{known}"


def _aliases(llm: dict[str, Any]) -> Iterator[Finding]:
    aliases = llm.get("aliases")
    if not isinstance(aliases, dict):
        return
    for alias, route in aliases.items():
        if isinstance(route, str) and route in aliases:
            what = "itself" if route == alias else f"the alias '{shown(route)}'"
            said = f"names {what}; an alias leads to a provider, provider/model or a model"
            yield ("llm", "aliases", alias), said


def _budget(llm: dict[str, Any]) -> Iterator[Finding]:
    budget = llm.get("budget")
    if not isinstance(budget, dict) or budget.get("enabled") is not True:
        return
    if all(budget.get(name) in (None, []) for name in _LIMITS):
        yield ("llm", "budget"), "is enabled and has no limit; set daily_limit_usd"


def _routes(data: dict[str, Any], llm: dict[str, Any]) -> Iterator[Finding]:
    providers = with_providers(llm).get("providers")
    embedded = data.get("embedded")
    if not isinstance(providers, dict) or not isinstance(embedded, dict):
        return
    kinds = [settings.get("kind") for settings in providers.values() if isinstance(settings, dict)]
    if embedded.get("enabled") is False and all(kind == "embedded" for kind in kinds):
        yield (
            ("embedded", "enabled"),
            "no route is left: the embedded model is off and llm.providers names no other",
        )


def _orders(data: dict[str, Any]) -> Iterator[Finding]:
    standard = Config()
    for low, high in _IN_ORDER:
        if not (_written(data, low) or _written(data, high)):
            continue
        low_value, high_value = _number(data, standard, low), _number(data, standard, high)
        if low_value is None or high_value is None or low_value <= high_value:
            continue
        low_name, high_name = ".".join(map(str, low)), ".".join(map(str, high))
        blamed = low if _written(data, low) else high
        yield (
            blamed,
            f"{low_name} ({low_value:g}) must be at most {high_name} ({high_value:g})",
        )


def _written(data: Any, path: Path) -> bool:
    return _at(data, path) is not None


def _at(data: Any, path: Path) -> Any:
    for part in path:
        data = data.get(part) if isinstance(data, dict) else None
    return data


def _number(data: dict[str, Any], standard: Config, path: Path) -> float | None:
    """Take the written number, else the default; ``None`` if something else is written."""
    value = _at(data, path)
    if value is None:
        value = standard
        for part in path:
            value = getattr(value, str(part))
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return value
