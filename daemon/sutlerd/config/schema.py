"""The whole configuration as one frozen tree of checked values, and its small groups.

Sizes are in bytes and times in seconds where a name says nothing else. ``Config()`` is what
the daemon runs on with no file at all: the embedded model, nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from sutlerd.config.group import Group, setting, settings_of
from sutlerd.config.readers import Within
from sutlerd.config.schema_llm import CacheConfig, LlmConfig
from sutlerd.config.schema_provider import ProviderConfig
from sutlerd.config.secret import Secret
from sutlerd.config.types import (
    AbsolutePath,
    Account,
    AsList,
    Bytes,
    Count,
    Loopback,
    Seconds,
    SocketMode,
)

__all__ = [
    "AccessConfig",
    "CacheConfig",
    "Config",
    "DaemonConfig",
    "EmbeddedConfig",
    "HttpConfig",
    "LimitsConfig",
    "LlmConfig",
    "PromptsConfig",
    "ProviderConfig",
]

MIB = 1024 * 1024


class DaemonConfig(Group):
    """The process: where it listens and keeps things, how it stops, what it logs.

    Folders and socket are ``None`` where the rules of the platform choose them.
    """

    socket: AbsolutePath | None = None
    socket_mode: SocketMode = "0600"
    socket_group: Account | None = None
    state_dir: AbsolutePath | None = None
    cache_dir: AbsolutePath | None = None
    drain_s: Annotated[float, Within(least=0, most=86_400)] = 30.0
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["text", "json"] = "text"
    log_content: bool = False
    redact: Annotated[tuple[Secret, ...], AsList] = ()

    @property
    def socket_mode_bits(self) -> int:
        return int(self.socket_mode, 8)


class OperatorsConfig(Group):
    users: Annotated[tuple[Account, ...], AsList] = ()
    groups: Annotated[tuple[Account, ...], AsList] = ()


class AccessConfig(Group):
    """Who may call. Both lists ``None``: whoever the socket's mode lets in; an empty list
    lets nobody in. Accounts are names or numbers."""

    users: Annotated[tuple[Account, ...], AsList] | None = None
    groups: Annotated[tuple[Account, ...], AsList] | None = None
    operators: OperatorsConfig = setting(default_factory=OperatorsConfig)


class LimitsConfig(Group):
    """What one client, one user and all together may take of the daemon."""

    line_bytes: Bytes = 16 * MIB
    nesting: Annotated[int, Within(least=1, most=256)] = 64
    in_flight_per_connection: Count = 256
    connections: Count = 1024
    connections_reserved: Annotated[int, Within(least=0, most=2**31)] = 64
    connections_per_uid: Count | None = None
    calls_per_uid: Count = 16_384
    calls: Count = 32_768
    owed_pause_bytes: Bytes = MIB
    owed_resume_bytes: Bytes = 256 * 1024
    owed_max_bytes: Bytes = 8 * MIB
    stall_s: Seconds = 10.0
    buffered_total_bytes: Bytes = 256 * MIB


class EmbeddedConfig(Group):
    """The model that runs beside the daemon. ``context_tokens`` is for each slot."""

    enabled: bool = True
    model_path: AbsolutePath | None = None
    threads: Annotated[int, Within(least=1, most=1024)] | None = None
    slots: Annotated[int, Within(least=1, most=256)] = 2
    context_tokens: Annotated[int, Within(least=64, most=16_777_216)] = 2048


class PromptsConfig(Group):
    folders: Annotated[tuple[AbsolutePath, ...], AsList] = ()


class HttpConfig(Group):
    """``listen`` is a loopback ``host:port``; the Unix socket is there whenever HTTP is."""

    enabled: bool = True
    socket: AbsolutePath | None = None
    listen: Loopback | None = None
    max_body_bytes: Bytes = 16 * MIB


def _no_llm_group() -> LlmConfig:
    return LlmConfig.model_validate({})


class Config(Group):
    llm: LlmConfig = setting(default_factory=_no_llm_group)
    daemon: DaemonConfig = setting(default_factory=DaemonConfig)
    access: AccessConfig = setting(default_factory=AccessConfig)
    limits: LimitsConfig = setting(default_factory=LimitsConfig)
    embedded: EmbeddedConfig = setting(default_factory=EmbeddedConfig)
    prompts: PromptsConfig = setting(default_factory=PromptsConfig)
    http: HttpConfig = setting(default_factory=HttpConfig)

    def off(self, provider: str) -> str | None:
        """Why a configured provider cannot be used; ``None`` if it can."""
        settings = self.llm.providers[provider]
        if settings.kind == "embedded" and not self.embedded.enabled:
            return "switched off by 'embedded.enabled: false'"
        return settings.off

    def secret_values(self) -> tuple[str, ...]:
        """List every text that must be masked wherever text leaves the daemon."""
        parts = (part for secret in _secrets(self) for part in secret.sensitive_parts())
        return tuple(dict.fromkeys(parts))


def _secrets(value: Any) -> Iterator[Secret]:
    if isinstance(value, Secret):
        yield value
    elif isinstance(value, Group):
        for name in settings_of(type(value)):
            yield from _secrets(getattr(value, name))
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _secrets(inner)
    elif isinstance(value, tuple):
        for inner in value:
            yield from _secrets(inner)
