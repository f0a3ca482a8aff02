"""Walk an LMDB file without letting LMDB near it; run as a program, in a process of its own.

LMDB maps its file and trusts every offset in it: a file cut short is SIGBUS at the first
read past its end, a wild offset is a wild pointer. This walk reads the file by plain reads
and believes nothing, so the worst it can do is to take long, and another process takes the
time. Needs nothing of this project.

    python file_check.py DATA_FILE

Exit code 0: sound. 1: not sound, and the first problem is on standard output.
"""

from __future__ import annotations

import os
import sys

from lmdb.verify import VerifyError, verify


def first_problem(path: str) -> str | None:
    """Give what is wrong with the file first, or ``None`` if it may be opened."""
    try:
        problems = verify(path, subdir=False)  # type: ignore[no-untyped-call]
    except VerifyError as error:
        return str(error)
    return str(problems[0]) if problems else None


def main(path: str) -> int:
    os.nice(10)  # an answer is worth more than the cache that is being checked
    problem = first_problem(path)
    if problem is None:
        return 0
    sys.stdout.write(problem[:300])
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
