"""The known name that was probably meant by an unknown one. Pure."""

from __future__ import annotations

from collections.abc import Iterable

_MAX_CHARS = 100


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Find the known name that was probably meant."""
    import difflib

    near = difflib.get_close_matches(name[:_MAX_CHARS], list(known), n=1, cutoff=0.6)
    return near[0] if near else None
