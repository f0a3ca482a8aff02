"""What a writer writes to, and what it is told of failures: the vocabulary of ``writer``.

The writer knows nothing of what is written. Its ``Target`` begins transactions, adds what
each commit needs, and says what a failure means: a cache makes room or gives up a few
entries, a ledger stops for good.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any, Protocol, TypeAlias, TypeVar

import lmdb

from sutlerd.domain.record import record

T = TypeVar("T")

#: A transaction that gives copies, not views. Quoted: the class takes no parameter when run.
Txn: TypeAlias = "lmdb.Transaction[bytes]"

#: Runs inside a write transaction, on the writer's thread.
Job = Callable[[Txn], T]

#: Runs on the event loop after the commit, with the job's result or with its error.
Done = Callable[[Any, BaseException | None], None]

#: What LMDB, and the file system under it, raise. Anything else is a fault in a job.
STORAGE_ERRORS = (lmdb.Error, OSError)


class Remedy(Enum):
    """What a target says of a transaction that failed."""

    #: The cause has been removed: the same jobs are tried again, then each by itself.
    AGAIN = "again"
    #: These jobs fail; later ones are tried.
    FAIL = "fail"
    #: These jobs fail, and so does all that follows, until there is a new writer.
    STOP = "stop"


class Target(Protocol):
    """What a writer writes to. All of it runs on the writer's thread."""

    def begin(self) -> Txn:
        """Begin a write transaction; it commits or aborts as a context manager."""

    def seal(self, txn: Txn) -> None:
        """Add what belongs to every commit, after its jobs."""

    def remedy(self, error: Exception) -> Remedy:
        """Judge one of ``STORAGE_ERRORS``, and mend its cause where that can be done.

        The transaction has been aborted. Must not raise.
        """


class WriterStopped(Exception):
    """The writer takes nothing any more; ``__cause__`` is the failure that stopped it, if any."""


class WriterFull(Exception):
    """The queue is at its maximum."""


@record
class WriterLimits:
    """Maxima of the queue and of one commit.

    ``linger_s`` is how long an unhurried first job waits for company; 0 where somebody
    waits for each commit.
    """

    queue_jobs: int
    queue_bytes: int
    commit_jobs: int
    commit_bytes: int
    linger_s: float = 0.0
