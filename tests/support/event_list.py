"""A log that keeps its events, for tests of what is said, and how often."""

from __future__ import annotations


class EventList:
    """A ``sutlerd.domain.ports.EventLog``."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str, dict[str, object]]] = []

    def tells(self, level: str) -> bool:
        return True

    def event(self, level: str, name: str, /, **fields: object) -> None:
        self.events.append((level, name, fields))

    def named(self, name: str) -> list[dict[str, object]]:
        """Give the fields of each event of this name."""
        return [fields for _, each, fields in self.events if each == name]

    def names(self) -> list[str]:
        return [name for _, name, _ in self.events]
