"""Which parameters of a call a template may set, and what they may be. Pure.

``model_class`` is an alias of the configuration, such as ``small``: where there is none of
that name, the call goes the default way.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from sutlerd.config.problems import shown, suggestion
from sutlerd.prompts.version import NAME

LANES: Final = ("interactive", "normal", "background")


def _number(least: float, most: float, *, above: bool = False) -> Callable[[Any], bool]:
    def fits(value: Any) -> bool:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return False
        return least <= value <= most and not (above and value == least)

    return fits


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 10_000_000


def _is_stop(value: Any) -> bool:
    listed = [value] if isinstance(value, str) else value
    return (
        isinstance(listed, list)
        and 1 <= len(listed) <= 16
        and all(isinstance(text, str) and text for text in listed)
    )


#: What may be set: whether a value fits, and what to say if it does not.
_RULES: Final[dict[str, tuple[Callable[[Any], bool], str]]] = {
    "lane": (lambda value: value in LANES, f"must be one of {', '.join(LANES)}"),
    "temperature": (_number(0, 2), "must be a number from 0 to 2"),
    "top_p": (_number(0, 1, above=True), "must be a number above 0, at most 1"),
    "max_tokens": (_is_count, "must be a whole number from 1 to 10000000"),
    "stop": (_is_stop, "must be a text or a list of at most 16"),
    "seed": (lambda value: type(value) is int, "must be a whole number"),
    "timeout_s": (_number(0, 366 * 86_400, above=True), "must be a number of seconds above 0"),
    "fallback": (lambda value: isinstance(value, bool), "must be true or false"),
    "model_class": (
        lambda value: isinstance(value, str) and NAME.fullmatch(value) is not None,
        "must be the name of an alias, e.g. small",
    ),
}


def check_default(key: str, value: Any) -> str | None:
    """Say what is wrong with a default; ``None`` if nothing is."""
    rule = _RULES.get(key)
    if rule is None:
        near = suggestion(key, _RULES) or f"; known here: {', '.join(_RULES)}"
        return f"unknown key '{shown(key)}'{near}"
    fits, said = rule
    return None if fits(value) else said
