"""Find out whether an LMDB file may be opened; run as a program, in a process of its own.

LMDB maps its file and trusts every offset in it: a file cut short is SIGBUS at the first
read past its end, a wild offset is a wild pointer, a wrong flag is a failed assertion. So
the file is first walked by plain reads that believe nothing, and then tried out by LMDB
itself: every entry read, a few written, and all of that taken back. Whatever dies of it is
this process. Needs nothing of this project.

    python file_check.py FOLDER

Exit code 0: it may be opened. 1: it may not, and the first problem is on standard output.
Any other code, or a signal: it may not either.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from struct import Struct

import lmdb
from lmdb.verify import VerifyError, verify

# In each of the two meta pages, behind the page's header of 16 bytes and 24 bytes of the meta
# page's own: how the free list and the main database are kept. verify() takes any flags that
# a database may have, but these two have always the same.
_PAGE_BYTES_AT = 40
_FREE_FLAGS_AT = 44
_MAIN_FLAGS_AT = 92
_FREE_FLAGS = 8  # integer keys
_U16 = Struct("=H")
_U32 = Struct("=I")

_MAX_DATABASES = 32
_TRIED_ROWS = 8


def first_problem(folder: Path) -> str | None:
    """Give what is wrong with the file first, or ``None`` if it may be opened."""
    data = folder / "data.mdb"
    try:
        problems = verify(data, subdir=False)  # type: ignore[no-untyped-call]
        if problems:
            return str(problems[0])
        return _wrong_flags(data) or _trial(folder)
    except (VerifyError, lmdb.Error, OSError) as error:
        return str(error)


def _wrong_flags(data: Path) -> str | None:
    with data.open("rb") as file:
        head = file.read(4096)
        file.seek(_U32.unpack_from(head, _PAGE_BYTES_AT)[0])
        second = file.read(4096)
    for number, meta in enumerate((head, second)):
        free_flags, main_flags = (
            _U16.unpack_from(meta, place)[0] for place in (_FREE_FLAGS_AT, _MAIN_FLAGS_AT)
        )
        if (free_flags, main_flags) != (_FREE_FLAGS, 0):
            return f"meta page {number} has wrong flags"
    return None


def _trial(folder: Path) -> str | None:
    """Use every database a little, in a transaction that is never committed."""
    with lmdb.open(
        str(folder),
        # Room enough for what is tried; it is never written to the file.
        map_size=2 * (folder / "data.mdb").stat().st_size + (16 << 20),
        create=False,
        max_dbs=_MAX_DATABASES,
        lib_version=0,
        readahead=False,
    ) as env:
        with env.begin() as reading:
            names = [bytes(name) for name in env.dbs(reading)]
        databases = [env.open_db(name, create=False) for name in names]
        if any(any(database.flags().values()) for database in databases):
            return "a database has wrong flags"
        txn = env.begin(write=True)
        for database in databases:
            with txn.cursor(database) as cursor:
                for _ in cursor:
                    pass
                for _ in range(_TRIED_ROWS):
                    if cursor.first():
                        cursor.delete()
                    if cursor.last():
                        cursor.delete()
            txn.put(b"\xff" * 64, bytes(3 * 4096), db=database)
        txn.abort()
    return None


def main(folder: Path) -> int:
    os.nice(10)  # an answer is worth more than the cache that is being checked
    problem = first_problem(folder)
    if problem is None:
        return 0
    sys.stdout.write(problem[:300])
    return 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
