"""A configuration file with the right mode, loaded with no word of this machine."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import pytest

from sutlerd.config.loader import Loaded, load
from sutlerd.config.problems import ConfigError, Problem

TODAY = datetime.date(2026, 11, 23)


class LoadText(Protocol):
    def __call__(
        self, text: str | bytes, environ: Mapping[str, str] = ..., *, mode: int = ...
    ) -> Loaded: ...


class Problems(Protocol):
    def __call__(
        self, text: str | bytes, environ: Mapping[str, str] = ...
    ) -> tuple[Problem, ...]: ...


@pytest.fixture
def config_file(tmp_path: Path) -> Path:
    return tmp_path / "sutler.yaml"


@pytest.fixture
def load_text(config_file: Path) -> LoadText:
    """Write a text into a file of mode 0600 and load it."""

    def loader(
        text: str | bytes, environ: Mapping[str, str] | None = None, *, mode: int = 0o600
    ) -> Loaded:
        config_file.write_bytes(text.encode() if isinstance(text, str) else text)
        config_file.chmod(mode)
        return load(config_file, environ or {}, has_module=lambda name: True, today=TODAY)

    return loader


@pytest.fixture
def problems(load_text: LoadText) -> Problems:
    """Load what must not load, and give everything that is wrong with it."""

    def collect(text: str | bytes, environ: Mapping[str, str] | None = None) -> tuple[Problem, ...]:
        with pytest.raises(ConfigError) as raised:
            load_text(text, environ or {})
        return raised.value.problems

    return collect
