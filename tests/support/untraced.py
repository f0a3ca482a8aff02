"""Without the tracer of coverage, which makes what it looks at up to three times as slow.

For what runs code that other tests run under it, and runs much of it: seeds by the hundred,
loads, kills. Their daemons are as quick as they will be for users.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

#: What has processes of ours start the tracer themselves.
_FOR_PROCESSES = "COVERAGE_PROCESS_CONFIG"

#: Beginnings of the names of such tests.
HEAVY = (
    "tests/crash/",
    "tests/fuzz/",
    "tests/integration/embedded/",
    "tests/integration/faults/",
    "tests/integration/main_job/",
    "tests/integration/node/test_booted",
    "tests/integration/node/test_memory",
    "tests/integration/node/test_slurm",
    "tests/simulation/",
    "tests/tidy/",
)


@contextmanager
def untraced() -> Iterator[None]:
    """Trace neither this thread nor the processes that are started meanwhile."""
    tracer, config = sys.gettrace(), os.environ.pop(_FOR_PROCESSES, None)
    sys.settrace(None)
    try:
        yield
    finally:
        sys.settrace(tracer)
        if config is not None:
            os.environ[_FOR_PROCESSES] = config
