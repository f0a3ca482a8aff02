"""The configuration as it is in force, for people: each value with where it came from.

Secrets are masked, whatever they are part of. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction
from pathlib import Path as FilePath
from typing import Any

from sutlerd.config.group import Group, settings_of
from sutlerd.config.presets import PRESETS
from sutlerd.config.problems import Path, dotted
from sutlerd.config.schema import Config
from sutlerd.config.secret import MASK, Secret


def show(config: Config, origins: Mapping[str, str]) -> dict[str, Any]:
    """Give the tree as plain JSON values: ``{"value": …, "origin": …}`` at each setting.

    ``origin`` is a place in the file, ``$NAME``, ``credential NAME``, ``file:PATH``,
    ``command line``, ``preset KIND`` or ``default``.
    """
    tree: dict[str, Any] = _group(config, (), origins)
    return tree


def _group(group: Group, path: Path, origins: Mapping[str, str]) -> dict[str, Any]:
    return {
        each.alias: _shown(getattr(group, name), (*path, each.alias), origins)
        for name, each in settings_of(type(group)).items()
    }


def _shown(value: Any, path: Path, origins: Mapping[str, str]) -> Any:
    if isinstance(value, Group):
        return _group(value, path, origins)
    if isinstance(value, dict) and value:
        return {key: _shown(inner, (*path, key), origins) for key, inner in value.items()}
    if isinstance(value, tuple) and any(isinstance(inner, Group) for inner in value):
        return [_shown(inner, (*path, i), origins) for i, inner in enumerate(value)]
    return {"value": _plain(value), "origin": _origin(value, path, origins)}


def _plain(value: Any) -> Any:
    if isinstance(value, Secret):
        return MASK if value.is_set else None
    if isinstance(value, (Decimal, Fraction, FilePath)):
        return str(value)
    if isinstance(value, tuple):
        return [_plain(inner) for inner in value]
    return value


def _origin(value: Any, path: Path, origins: Mapping[str, str]) -> str:
    if found := origins.get(dotted(path)):
        return found
    if isinstance(value, Secret) and value.origin:
        return value.origin
    if path[:2] == ("llm", "providers") and len(path) == 4 and value not in (None, {}, ()):
        return _origin_at_provider(str(path[2]), str(path[3]), value, origins)
    return "default"


def _origin_at_provider(name: str, setting: str, value: Any, origins: Mapping[str, str]) -> str:
    kind_at = f"llm.providers.{name}.kind"
    offered = PRESETS.get(name)
    if setting == "kind" and offered is not None and kind_at not in origins:
        return f"preset {name}"
    if offered is None:
        return "default"
    preset_values = {
        "base_url": offered.base_url,
        "transport": offered.transport,
        "default_model": offered.default_model,
        "embed_models": offered.embed_models,
        "dimension": offered.dimension,
        "timeout_seconds": offered.attempt_timeout_s,
    }
    if setting in preset_values and preset_values[setting] == value:
        return f"preset {name}"
    if setting == "timeout_seconds":
        return origins.get("llm.timeout_seconds", "default")
    if setting == "models" or setting == "default_model":
        other = "default_model" if setting == "models" else "models"
        return origins.get(f"llm.providers.{name}.{other}", f"preset {name}")
    return "default"
