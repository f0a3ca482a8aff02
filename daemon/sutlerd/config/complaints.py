"""Pydantic's findings in our words: each at its place in the file, with the way out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from sutlerd.config.presets import PRESETS
from sutlerd.config.problems import Path, shown, suggestion
from sutlerd.config.schema import Config
from sutlerd.config.shape import Shape, at, places_of

#: A path and what is wrong there.
Finding = tuple[Path, str]

_PLAIN: Final[dict[str, str]] = {
    "string_type": "must be text; put it in quotes",
    "bool_type": "must be true or false",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "tuple_type": "must be a list",
    "dict_type": "must be a group of settings",
    "model_type": "must be a group of settings",
    "model_attributes_type": "must be a group of settings",
    "path_type": "must be a path in quotes",
    "string_too_short": "must not be empty",
    "string_too_long": "is too long",
    "string_pattern_mismatch": "holds characters that are not allowed in such a name",
}
_BOUNDS: Final[dict[str, tuple[str, str]]] = {
    "greater_than": ("must be above", "gt"),
    "greater_than_equal": ("must be at least", "ge"),
    "less_than": ("must be below", "lt"),
    "less_than_equal": ("must be at most", "le"),
}


def findings(error: ValidationError) -> Iterator[Finding]:
    """Yield every finding once, each with the deepest place that the settings know."""
    details = error.errors(include_url=False)
    wrong = {_place(detail) for detail in details}
    seen: set[Path] = set()
    for detail in details:
        path = _place(detail)
        if path not in seen and not (detail["type"] == "missing" and _follows(path, wrong)):
            seen.add(path)
            yield path, _message(detail, path, details)


def _follows(missing: Path, wrong: set[Path]) -> bool:
    """Whether a gap is only there because of another fault of the same group: a provider's
    right kind, or its default model, would have filled it."""
    *group, name = missing
    causes = ("kind", "default_model") if name == "models" else ("kind",)
    return any(cause != name and (*group, cause) in wrong for cause in causes)


def _place(detail: ErrorDetails) -> Path:
    """Cut off what pydantic adds to a path: the branch of a union, the mark of a key."""
    path = detail["loc"]
    if detail["type"] == "extra_forbidden":
        return path
    known = len(path)
    while known and at(Config, path[:known]) is None:
        known -= 1
    return path[:known]


def _message(detail: ErrorDetails, path: Path, details: list[ErrorDetails]) -> str:
    kind = detail["type"]
    context: dict[str, Any] = detail.get("ctx", {})
    if detail["loc"][-1:] == ("[key]",):
        return f"the name {_PLAIN['string_pattern_mismatch'].partition(' in ')[0]}"
    if detail["loc"] != path and sum(_place(other) == path for other in details) > 1:
        return "must be a name or a number"
    if kind == "extra_forbidden":
        return _unknown_key(path)
    if kind == "missing":
        return _missing(path)
    if kind == "literal_error":
        return f"must be {context['expected']}{_guess(detail['input'], path)}"
    if kind == "value_error":
        return str(context["error"])
    if kind in _BOUNDS:
        words, limit = _BOUNDS[kind]
        return f"{words} {context[limit]:g}"
    return _PLAIN.get(kind, "is not valid here")


def _unknown_key(path: Path) -> str:
    key = str(path[-1])
    parent = at(Config, path[:-1])
    known = parent.keys() if parent is not None else ()
    near = suggestion(key, known)
    if not near and (home := next(places_of(Config, key), None)):
        near = f"; did you mean '{home}'?"
    return f"unknown key '{shown(key)}'" + (near or _listed(parent))


def _listed(parent: Shape | None) -> str:
    return f"; known here: {', '.join(parent.keys())}" if parent is not None else ""


def _missing(path: Path) -> str:
    if path[:2] == ("llm", "providers") and len(path) == 4:
        name, setting = str(path[2]), path[3]
        if setting == "kind":
            return (
                f"is missing: '{shown(name)}' is none of the providers known by name, "
                f"so say e.g. 'kind: openai_compatible'{suggestion(name, PRESETS)}"
            )
        if setting == "default_model":
            return "is missing: name the model that calls get if they name none"
        if setting == "models":
            return "is missing: list the models that the server has"
        if setting == "base_url":
            return "is missing: give the server's address, e.g. http://127.0.0.1:8000/v1"
    return "is missing"


def _guess(value: object, path: Path) -> str:
    """Suggest a word for a wrong one, without ever repeating the wrong one."""
    if not isinstance(value, str):
        return ""
    words = PRESETS if path[-1:] == ("kind",) else _words_at(path)
    return suggestion(value, words)


def _words_at(path: Path) -> tuple[str, ...]:
    shape = at(Config, path)
    return shape.words if shape is not None else ()
