"""Find out whether an LMDB file may be opened; run as a program, in a process of its own.

LMDB maps its file and trusts every offset in it: a file cut short is SIGBUS at the first
read past its end, a wild offset is a wild pointer, a wrong flag is a failed assertion. So
the file is first walked by plain reads that believe nothing, and then tried out by LMDB
itself: every entry read, a few written, and all of that taken back. Whatever dies of it is
this process. Needs nothing of this project.

    python lmdb_check.py FOLDER

Exit code 0: it may be opened. 1: it may not, and the first problem is on standard output.
Any other code, or a signal: it may not either.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path
from struct import Struct
from typing import BinaryIO

import lmdb
from lmdb.verify import VerifyError, verify

# LMDB 0.9 on a machine of 64 bits, as in its mdb.c. A meta page has behind its header: magic,
# version, address, map size (24 bytes), then the records of the free list and of the main
# database (pad, flags, depth, three counts of pages, entries, root), last page, transaction.
_HEADER_BYTES = 16
_META = Struct("=24xIHH4QQIHH4QQQQ")
_FREE_FLAGS = 8  # integer keys
_PAGE = Struct("=10xHHH")  # flags, lower, upper
_NODE = Struct("=HHHH")  # low and high half of the size or page, flags, size of the key
_NODE_BYTES = 8
_RECORD_BYTES = 48
_ROOT = Struct("=40xQ")
_BRANCH = 1
_BIG_DATA = 1
_DATABASE = 2
_NO_PAGE = 2**64 - 1

_MAX_DATABASES = 32
_TRIED_ROWS = 8


def first_problem(folder: Path) -> str | None:
    """Give what is wrong with the file first, or ``None`` if it may be opened."""
    data = folder / "data.mdb"
    try:
        problems = verify(data, subdir=False)  # type: ignore[no-untyped-call]
        if problems:
            return str(problems[0])
        with data.open("rb") as file:
            problem = _gap_of_verify(file)
        return problem or _trial(folder)
    except (VerifyError, lmdb.Error, OSError) as error:
        return str(error)


def _gap_of_verify(file: BinaryIO) -> str | None:
    """Look at two things that verify() lets pass and LMDB relies on.

    The free list and the main database have always the same flags; others end in a failed
    assertion. And the nodes of a page lie side by side up to its end; where they overlap or
    leave a gap, a deletion would write beyond the page.
    """
    metas = []
    page_bytes = 4096
    for number in range(2):
        file.seek(number * page_bytes + _HEADER_BYTES)
        meta = _META.unpack(file.read(_META.size))
        page_bytes, free_flags, main_flags = meta[0], meta[1], meta[9]
        if (free_flags, main_flags) != (_FREE_FLAGS, 0):
            return f"meta page {number} has wrong flags"
        metas.append(meta)
    newest = max(metas, key=lambda meta: int(meta[-1]))
    roots = [int(newest[7]), int(newest[15])]
    while roots:
        number = roots.pop()
        if number == _NO_PAGE:
            continue
        file.seek(number * page_bytes)
        below = _below(file.read(page_bytes))
        if below is None:
            return f"page {number} has nodes that do not lie side by side"
        roots += below
    return None


def _below(page: bytes) -> list[int] | None:
    """Give the pages that a sound tree page leads to; ``None`` if its nodes are not in order."""
    flags, lower, upper = _PAGE.unpack_from(page)
    count = (lower - _HEADER_BYTES) // 2
    below: list[int] = []
    ends_at = upper
    for place in sorted(Struct(f"={count}H").unpack_from(page, _HEADER_BYTES)):
        low, high, node_flags, key_bytes = _NODE.unpack_from(page, place)
        size_bytes = _NODE_BYTES + key_bytes
        if flags & _BRANCH:
            below.append(low | high << 16 | node_flags << 32)
        elif node_flags & _DATABASE:
            below.append(_ROOT.unpack_from(page, place + size_bytes)[0])
            size_bytes += _RECORD_BYTES
        else:
            size_bytes += _NODE_BYTES if node_flags & _BIG_DATA else low | high << 16
        if place != ends_at:
            return None
        ends_at = place + size_bytes + size_bytes % 2
    return below if ends_at == len(page) else None


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
    with suppress(OSError):  # a service manager's filter may forbid it
        os.nice(10)  # an answer is worth more than a file that is being checked
    problem = first_problem(folder)
    if problem is None:
        return 0
    sys.stdout.write(problem[:300])
    return 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
