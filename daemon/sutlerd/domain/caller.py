"""Who asks, as the kernel says it. What a client claims about itself is never in here."""

from __future__ import annotations

from sutlerd.domain.record import record


@record
class Caller:
    """The identity of a connection, taken once when it was made.

    ``job`` is the batch job read from the process's cgroup, ``None`` outside of one.
    ``may_operate`` allows the operators' methods.
    """

    uid: int
    gid: int
    pid: int
    groups: frozenset[int] = frozenset()
    job: str | None = None
    may_operate: bool = False
