"""Faults of settings in words for an operator: each at its place, with the way out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sutlerd.config.faults import Fault
from sutlerd.config.presets import PRESETS
from sutlerd.config.problems import Path, shown, suggestion
from sutlerd.config.schema import Config
from sutlerd.config.shape import Shape, at, places_of

#: A path and what is wrong there.
Finding = tuple[Path, str]


def findings(faults: Sequence[Fault]) -> Iterator[Finding]:
    """Yield one finding for each place that has any."""
    wrong = {fault.path for fault in faults}
    seen: set[Path] = set()
    for fault in faults:
        path = fault.path
        if path not in seen and not (fault.kind == "missing" and _follows(path, wrong)):
            seen.add(path)
            yield path, _message(fault)


def _follows(missing: Path, wrong: set[Path]) -> bool:
    """Whether a gap is only there because of another fault of the same group: a provider's
    right kind, or its default model, would have filled it."""
    *group, name = missing
    causes = ("kind", "default_model") if name == "models" else ("kind",)
    return any(cause != name and (*group, cause) in wrong for cause in causes)


def _message(fault: Fault) -> str:
    if fault.kind == "unknown":
        return _unknown_key(fault.path)
    if fault.kind == "missing":
        return _missing(fault.path)
    if fault.kind == "word":
        return fault.said + _guess(fault.value, fault.path)
    return fault.said


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
