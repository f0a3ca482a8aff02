"""Models that providers have shut down or will, as data: the last day, and what follows.

Dates are the providers' own announcements as their SDKs carry them. A name that is not here
is not known to be retired, nothing more. Only the providers' own services are meant: other
servers may go on serving the same weights under the same name.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from types import MappingProxyType
from typing import Final

from sutlerd.domain.record import record


@record
class Retirement:
    """``last_day``: from this day on requests fail. ``successor`` serves today."""

    last_day: date
    successor: str


def _group(year: int, month: int, day: int, successor: str, *models: str) -> dict[str, Retirement]:
    retirement = Retirement(last_day=date(year, month, day), successor=successor)
    return dict.fromkeys(models, retirement)


# fmt: off
_ANTHROPIC = {
    **_group(
        2024, 11, 6, "claude-haiku-5-5",
        "claude-1.3", "claude-1.3-100k", "claude-instant-1.1", "claude-instant-1.1-100k",
        "claude-instant-1.2",
    ),
    **_group(2025, 7, 21, "claude-sonnet-5-5", "claude-2.0", "claude-2.1"),
    **_group(2025, 7, 21, "claude-sonnet-5-5", "claude-3-sonnet-20240229"),
    **_group(
        2026, 1, 5, "claude-opus-5-5", "claude-3-opus-20240229", "claude-3-opus-latest"
    ),
    **_group(
        2026, 2, 19, "claude-sonnet-5-5", "claude-3-7-sonnet-20250219", "claude-3-7-sonnet-latest"
    ),
    **_group(
        2026, 2, 19, "claude-haiku-5-5", "claude-3-5-haiku-20241022", "claude-3-5-haiku-latest"
    ),
    **_group(2026, 6, 15, "claude-opus-5-5", "claude-opus-4-0", "claude-opus-4-20250514"),
    **_group(2026, 6, 15, "claude-sonnet-5-5", "claude-sonnet-4-0", "claude-sonnet-4-20250514"),
    **_group(2026, 6, 30, "claude-mythos-5-2", "claude-mythos-preview"),
    **_group(2026, 8, 5, "claude-opus-5-5", "claude-opus-4-1", "claude-opus-4-1-20250805"),
    **_group(2026, 11, 30, "claude-sonnet-5-5", "claude-sonnet-4-5", "claude-sonnet-4-5-20250929"),
}

_OPENAI = {
    **_group(2025, 7, 28, "gpt-5.5", "o1-preview", "o1-preview-2024-09-12"),
    **_group(2025, 10, 27, "gpt-5.4-mini", "o1-mini", "o1-mini-2024-09-12"),
    **_group(2026, 2, 17, "gpt-5.5", "chatgpt-4o-latest"),
    **_group(2026, 7, 23, "gpt-5.5", "gpt-5-chat-latest", "gpt-5.1-chat-latest", "gpt-5.1-codex"),
    **_group(2026, 8, 10, "gpt-5.5", "gpt-5.2-chat-latest", "gpt-5.3-chat-latest"),
    **_group(
        2026, 10, 23, "gpt-5.5",
        "gpt-4", "gpt-4-0613", "gpt-4-turbo", "gpt-4-turbo-2024-04-09", "gpt-4-1106-preview",
        "gpt-4o-2024-05-13", "o1", "o1-2024-12-17",
    ),
    **_group(
        2026, 10, 23, "gpt-5.4-mini",
        "gpt-3.5-turbo", "gpt-3.5-turbo-0125", "gpt-4.1-nano", "gpt-4.1-nano-2025-04-14",
        "o3-mini", "o3-mini-2025-01-31", "o4-mini", "o4-mini-2025-04-16",
    ),
    **_group(2026, 12, 11, "gpt-5.5", "gpt-5", "gpt-5-2025-08-07", "o3", "o3-2025-04-16"),
    **_group(
        2026, 12, 11, "gpt-5.4-mini",
        "gpt-5-mini", "gpt-5-mini-2025-08-07", "gpt-5-nano", "gpt-5-nano-2025-08-07",
    ),
    **_group(
        2027, 1, 14, "gpt-5.4",
        "gpt-4o", "gpt-4o-2024-08-06", "gpt-4o-2024-11-20", "gpt-4.1", "gpt-4.1-2025-04-14",
    ),
    **_group(
        2027, 1, 14, "gpt-5.4-mini",
        "gpt-4o-mini", "gpt-4o-mini-2024-07-18", "gpt-4.1-mini", "gpt-4.1-mini-2025-04-14",
    ),
    **_group(2027, 4, 1, "gpt-5.5", "gpt-5.1", "gpt-5.1-2025-11-13"),
    **_group(2027, 4, 1, "gpt-5.4-mini", "gpt-5.4-nano", "gpt-5.4-nano-2026-03-17"),
}
# fmt: on

#: kind of provider -> model -> its retirement
RETIRED: Final[Mapping[str, Mapping[str, Retirement]]] = MappingProxyType(
    {"anthropic": MappingProxyType(_ANTHROPIC), "openai": MappingProxyType(_OPENAI)}
)


def retirement(kind: str, model: str) -> Retirement | None:
    """Tell what is known of a model's end; ``None`` if nothing is."""
    return RETIRED.get(kind, {}).get(model)
