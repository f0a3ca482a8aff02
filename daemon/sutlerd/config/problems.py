"""What is wrong with a configuration, said so that a person can mend it.

A problem names its place (file and line), the setting's path and what to do. It never
quotes a value: the value next to a typo may be somebody's key.
"""

from __future__ import annotations

from collections.abc import Iterable

from sutlerd.domain.record import record

#: A place in the tree of settings: keys of mappings and indexes of lists, from the root.
Path = tuple[str | int, ...]

MAX_SHOWN_CHARS = 80


@record
class Problem:
    """One fault or one warning. ``line`` counts from 1 and is ``None`` outside of a file.

    ``loud`` marks a warning that must not be overlooked, such as a budget that nobody keeps.
    """

    source: str
    message: str
    line: int | None = None
    path: str = ""
    loud: bool = False

    def __str__(self) -> str:
        place = self.source if self.line is None else f"{self.source}:{self.line}"
        said = f"{place}: {self.path}: {self.message}" if self.path else f"{place}: {self.message}"
        return said if said.isprintable() else said.encode("unicode_escape").decode("ascii")


class ConfigError(Exception):
    """A configuration that cannot be used; ``problems`` holds every fault of it, by line."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems: tuple[Problem, ...] = in_order(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


def in_order(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """Sort by line, those without one last; the same thing is said once."""
    distinct = dict.fromkeys(problems)
    return tuple(sorted(distinct, key=lambda p: (p.line is None, p.line or 0, p.path)))


def dotted(path: Path) -> str:
    """Write a path as people do: ``llm.providers.openai.models[2]``."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{shown(part)}" if text else shown(part)
    return text


def shown(text: str) -> str:
    """Make a name from the file fit for a terminal: escaped, and cut to a bearable length."""
    cut = text if len(text) <= MAX_SHOWN_CHARS else text[: MAX_SHOWN_CHARS - 1] + "…"
    return cut if cut.isprintable() else cut.encode("unicode_escape").decode("ascii")


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Find the known word that somebody most likely meant, if any is near."""
    import difflib

    if len(word) > MAX_SHOWN_CHARS:
        return None
    by_folded = {name.lower().replace("-", "_"): name for name in known}
    close = difflib.get_close_matches(word.lower().replace("-", "_"), by_folded, n=1, cutoff=0.65)
    return by_folded[close[0]] if close else None


def suggestion(word: str, known: Iterable[str]) -> str:
    """Give ``; did you mean 'x'?`` or, where nothing is near, an empty string."""
    near = nearest(word, known)
    return f"; did you mean '{near}'?" if near else ""
