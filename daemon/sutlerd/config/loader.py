"""From a file and an environment to one checked configuration, or to all that is wrong.

The only shell of this folder: it reads files, looks up variables, and reports. What it
returns holds nothing that is looked up later, but for the secrets' sources being forgotten.
"""

from __future__ import annotations

import datetime
import importlib.util
import os
from collections.abc import Mapping
from dataclasses import field
from pathlib import Path as FilePath
from typing import Any
from urllib.parse import unquote, urlsplit

from sutlerd.config.checks import cross_checks
from sutlerd.config.complaints import findings
from sutlerd.config.faults import Faults
from sutlerd.config.materialise import Values, materialise
from sutlerd.config.notices import HasModule, missing_extras, notices
from sutlerd.config.presets import PRESETS
from sutlerd.config.problems import ConfigError, Path, Problem, dotted, in_order
from sutlerd.config.schema import Config
from sutlerd.config.schema_llm import with_providers
from sutlerd.config.secret import Secret
from sutlerd.config.shape import Holds, Shape
from sutlerd.config.source import (
    ReadFile,
    read_file,
    read_secret,
    readable_by_others,
    writable_by_others,
)
from sutlerd.config.substitute import ReadSecret, Sources, SubstitutionFault
from sutlerd.config.yaml_tree import MAX_FILE_BYTES, Scalar, parse
from sutlerd.config.yaml_tree import Mapping as MappingNode
from sutlerd.domain.record import record

NO_FILE = "no configuration"
COMMAND_LINE = "command line"


@record
class Loaded:
    """A configuration that can be used, and what is to be said about it.

    ``origins`` tells by dotted path where a value came from, for those that were given;
    ``secrets`` is every text to be masked, those of the environment's proxies included.
    """

    config: Config
    warnings: tuple[Problem, ...] = ()
    origins: Mapping[str, str] = field(default_factory=dict)
    secrets: tuple[str, ...] = field(default=(), repr=False)
    missing_extras: frozenset[str] = frozenset()


def _has_module(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


def load(
    path: FilePath | None,
    environ: Mapping[str, str],
    *,
    overrides: Mapping[str, Any] | None = None,
    read_file: ReadFile = read_file,
    read_secret: ReadSecret = read_secret,
    has_module: HasModule = _has_module,
    own_uid: int | None = None,
    today: datetime.date | None = None,
) -> Loaded:
    """Read, check and complete a configuration. Raises ``ConfigError`` with every problem.

    ``path`` of ``None`` and an empty file mean the same: no configuration. ``overrides``
    are values from the command line by dotted path, e.g. ``{"daemon.socket": "/run/x"}``.
    The rest is what it takes from outside, to be replaced where that matters.
    """
    loading = _Loading(path, Sources(environ, read_secret))
    if path is not None:
        uid = os.geteuid() if own_uid is None else own_uid
        loading.read(path, read_file, uid)
    loading.override(overrides or {})
    loading.add_keys()
    config = loading.checked()
    extras = missing_extras(config, has_module)
    for notice in notices(
        config,
        written=loading.written(),
        unset=loading.values.unset,
        extras=extras,
        today=today or datetime.datetime.now(tz=datetime.UTC).date(),
    ):
        loading.warn(notice.path, notice.message, loud=notice.loud)
    return Loaded(
        config=config,
        warnings=in_order(loading.warnings),
        origins=loading.origins(),
        secrets=(*config.secret_values(), *proxy_passwords(environ)),
        missing_extras=frozenset(extra.name for extra in extras),
    )


class _Loading:
    """One load under way: the values so far and what is wrong with them."""

    def __init__(self, path: FilePath | None, sources: Sources) -> None:
        self.values = Values(data={})
        self.warnings: list[Problem] = []
        self._source = NO_FILE if path is None else str(path)
        self._sources = sources
        self._problems: list[Problem] = []
        self._overridden: set[Path] = set()

    def read(self, path: FilePath, read_file: ReadFile, own_uid: int) -> None:
        """Take over what the file says. Raises ``ConfigError`` if it cannot be read at all."""
        try:
            found = read_file(path, MAX_FILE_BYTES + 1)
        except OSError as error:
            raise self._unreadable(f"cannot be read: {error.strerror}") from None
        except ValueError:
            raise self._unreadable("is not a path") from None
        if why := writable_by_others(found, own_uid):
            raise self._unreadable(why)
        if len(found.data) > MAX_FILE_BYTES:
            raise self._unreadable(f"is over {MAX_FILE_BYTES} bytes")
        try:
            text = found.data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = found.data.count(b"\n", 0, error.start) + 1
            raise self._unreadable("not YAML: not UTF-8 text", line) from None
        self._take(text)
        if readable_by_others(found):
            for place in self.values.literal_secrets:
                said = f"a secret in a file that everybody can read; chmod o-r {path}"
                self.warn(place, said)

    def _take(self, text: str) -> None:
        root, faults = parse(text)
        for line, place, message in faults:
            self._complain_at(place, line, message)
        if root is None or (isinstance(root, Scalar) and root.plain and not root.text):
            return
        if not isinstance(root, MappingNode):
            said = "must be a mapping of groups: llm, daemon, access, …"
            self._problems.append(Problem(source=self._source, line=root.line, message=said))
            return
        shape = Shape(holds=Holds.GROUP, model=Config)
        values = materialise(root, shape, self._sources, self._complain_at)
        self.values = values if isinstance(values.data, dict) else Values(data={})

    def _unreadable(self, message: str, line: int | None = None) -> ConfigError:
        return ConfigError([Problem(source=self._source, message=message, line=line)])

    def override(self, overrides: Mapping[str, Any]) -> None:
        """Set what the command line says, above everything that the file does."""
        for name, value in overrides.items():
            path: Path = tuple(name.split("."))
            group = self.values.data
            for part in path[:-1]:
                if not isinstance(group.get(part), dict):
                    group[part] = {}
                group = group[part]
            group[path[-1]] = value
            self._overridden.add(path)

    def add_keys(self) -> None:
        """Look up the usual variable of each provider that names no source for its key."""
        llm = self.values.data.get("llm")
        if not isinstance(llm, dict):
            return
        providers = with_providers(llm).get("providers")
        for name, settings in providers.items() if isinstance(providers, dict) else ():
            if not isinstance(settings, dict) or settings.get("api_key") is not None:
                continue
            kind = settings.get("kind")
            preset = PRESETS.get(kind) if isinstance(kind, str) else None
            if preset is None or preset.key_env is None:
                continue
            path: Path = ("llm", "providers", name, "api_key")
            try:
                found = self._sources.look_up(preset.key_env)
            except SubstitutionFault as fault:
                self._complain(path, str(fault))
                continue
            if found.text is not None:
                self._set_key(llm, name, Secret(found.text, origin=found.origin))
                self.values.origins[path] = found.origin

    def _set_key(self, llm: dict[str, Any], name: str, key: Secret) -> None:
        if not isinstance(llm.get("providers"), dict):
            llm["providers"] = {}
        written = llm["providers"].get(name)
        llm["providers"][name] = {**(written or {}), "api_key": key}

    def checked(self) -> Config:
        """Validate. Raises ``ConfigError`` with everything found so far and here."""
        config = None
        unset = {gap.path: gap.origin for gap in self.values.unset}
        try:
            config = Config.model_validate(self.values.data)
        except Faults as error:
            for path, message in findings(error.faults):
                gone = message.startswith("is missing") and unset.get(path)
                self._complain(path, f"{gone} is not set" if gone else message)
        for path, message in cross_checks(self.values.data, self.values.unset):
            self._complain(path, message)
        if config is None or self._problems:
            raise ConfigError(self._problems)
        return config

    def written(self) -> tuple[Path, ...]:
        return (*self.values.lines, *self._overridden)

    def origins(self) -> dict[str, str]:
        named = {path: f"{self._source}:{line}" for path, line in self.values.lines.items()}
        named |= self.values.origins
        named |= dict.fromkeys(self._overridden, COMMAND_LINE)
        return {dotted(path): origin for path, origin in named.items() if path}

    def warn(self, path: Path, message: str, *, loud: bool = False) -> None:
        self.warnings.append(self._problem(path, message, loud=loud))

    def _complain(self, path: Path, message: str) -> None:
        self._problems.append(self._problem(path, message))

    def _complain_at(self, path: Path, line: int, message: str) -> None:
        self._problems.append(
            Problem(source=self._source, line=line, path=dotted(path), message=message)
        )

    def _problem(self, path: Path, message: str, *, loud: bool = False) -> Problem:
        """Find the place of a setting: its own line, else that of the nearest group around."""
        line = None
        source = self._source
        for length in range(len(path), 0, -1):
            if path[:length] in self._overridden:
                source = COMMAND_LINE
                break
            if (line := self.values.lines.get(path[:length])) is not None:
                break
        return Problem(source=source, line=line, path=dotted(path), message=message, loud=loud)


def proxy_passwords(environ: Mapping[str, str]) -> tuple[str, ...]:
    """List the passwords of proxies that the environment names."""
    found: list[str] = []
    for name in ("http_proxy", "https_proxy", "all_proxy", "ftp_proxy"):
        for value in (environ.get(name), environ.get(name.upper())):
            try:
                password = urlsplit(value or "").password
            except ValueError:
                continue
            if password:
                found += [password, unquote(password)]
    return tuple(dict.fromkeys(found))
