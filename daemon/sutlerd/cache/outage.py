"""When a store that failed is tried again, and that it is talked about once.

Pure: times are handed in, on the monotonic clock.
"""

from __future__ import annotations


class Outage:
    """From the first failure to the first success; each pause is twice the one before."""

    def __init__(self, *, first_pause_s: float, longest_pause_s: float) -> None:
        self._first_pause_s = first_pause_s
        self._longest_pause_s = longest_pause_s
        self._pause_s = 0.0
        self._until_s = 0.0

    @property
    def is_on(self) -> bool:
        return self._pause_s > 0

    @property
    def pause_s(self) -> float:
        """How long the store is left alone after the last failure."""
        return self._pause_s

    def failed(self, now_s: float) -> bool:
        """Leave the store alone for a while. ``True``: the outage begins, so say it."""
        begins = not self.is_on
        longer_s = self._first_pause_s if begins else self._pause_s * 2
        self._pause_s = min(longer_s, self._longest_pause_s)
        self._until_s = now_s + self._pause_s
        return begins

    def may_try_now(self) -> None:
        """Cut the pause short: the cause has been removed."""
        self._until_s = 0.0

    def may_try(self, now_s: float) -> bool:
        return now_s >= self._until_s

    def worked(self) -> bool:
        """Note a success. ``True``: an outage ends with it, so say it."""
        ends = self.is_on
        self._pause_s = self._until_s = 0.0
        return ends
