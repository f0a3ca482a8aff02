"""What a check has found: one line a finding, each with its mend."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from sutlerd.domain.record import record

Level = Literal["ok", "warning", "error"]
_MARKS: dict[Level, str] = {"ok": "ok     ", "warning": "warning", "error": "ERROR  "}


@record
class Finding:
    """``what`` names the part that was looked at; ``mend`` is what to do, empty for ok."""

    what: str
    level: Level
    said: str
    mend: str = ""

    def __str__(self) -> str:
        line = f"{_MARKS[self.level]} {self.what}: {self.said}"
        return f"{line}\n        mend: {self.mend}" if self.mend else line

    def to_wire(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


def ok(what: str, said: str) -> Finding:
    return Finding(what=what, level="ok", said=said)


def warning(what: str, said: str, mend: str = "") -> Finding:
    return Finding(what=what, level="warning", said=said, mend=mend)


def error(what: str, said: str, mend: str = "") -> Finding:
    return Finding(what=what, level="error", said=said, mend=mend)


def summary(findings: Iterable[Finding]) -> str:
    levels = [finding.level for finding in findings]
    return (
        f"{levels.count('ok')} fine, {levels.count('warning')} to look at, "
        f"{levels.count('error')} that stop a start or a call"
    )
