"""How long a client has taken nothing of what it is owed. Pure: time is handed in."""

from __future__ import annotations


class Progress:
    """Looked at regularly, by whoever knows how much time of ours has passed in between.

    Time in which the daemon itself stood still (stopped, suspended) is not to be handed in:
    the client had nothing to take then.
    """

    __slots__ = ("_stalled_s", "_taken_bytes")

    def __init__(self) -> None:
        self._taken_bytes = -1
        self._stalled_s = 0.0

    def stalled_for_s(self, *, written_bytes: int, owed_bytes: int, passed_s: float) -> float:
        """Note a look; ``written_bytes`` counts all that was ever written to the client."""
        taken_bytes = written_bytes - owed_bytes if owed_bytes else -1
        if taken_bytes == self._taken_bytes and owed_bytes:
            self._stalled_s += passed_s
        else:
            # From the first look on at which it owes: when it was written, nobody noted.
            self._taken_bytes = taken_bytes
            self._stalled_s = 0.0
        return self._stalled_s
