"""Whether an LMDB file may be opened: as a clean stop left it, or walked by a child process.

Blocking. A stop that went well leaves ``sound.json`` beside the file: the file's inode, size
and time, and in which boot. As long as all of that holds the file is trusted, at the cost of
one ``stat``. Else a child process walks it (``lmdb_check``), since reading a damaged file can
end the process that does it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

import orjson

DATA: Final = "data.mdb"
SOUND: Final = "sound.json"

_CHECK = Path(__file__).with_name("lmdb_check.py")
_CHECK_LIMIT_S = 900.0
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def is_as_left(folder: Path) -> bool:
    """Tell whether the file is just as a clean stop in this boot has left it."""
    try:
        left = orjson.loads((folder / SOUND).read_bytes())
        return bool(left == _state_of_file(folder))
    except (OSError, orjson.JSONDecodeError):
        return False


def leave_sound(folder: Path) -> None:
    """Note that the next start may trust the file. A note that cannot be written is none."""
    with suppress(OSError):
        mark = folder / f"{SOUND}.new"
        mark.unlink(missing_ok=True)
        mark.touch(mode=0o600, exist_ok=False)
        mark.write_bytes(orjson.dumps(_state_of_file(folder)))
        mark.replace(folder / SOUND)


def problem_found(folder: Path) -> str | None:
    """Have the file walked by a child process; give what is wrong with it first."""
    # By path, so that it needs neither this package's place nor its environment; -P keeps its
    # own folder out of the modules' path.
    order = [sys.executable, "-P", str(_CHECK), str(folder)]
    try:
        found = subprocess.run(
            order,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_CHECK_LIMIT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"its check took longer than {_CHECK_LIMIT_S:.0f} s"
    if found.returncode == 0:
        return None
    problem = found.stdout.decode(errors="replace").strip()
    if problem:
        return problem
    # A check that could not be made at all says so in its last words.
    words = found.stderr.decode(errors="replace").strip().splitlines()
    said = f": {words[-1]}" if words else ""
    return f"its check ended with code {found.returncode}{said}"


def boot_id() -> str:
    """Name this run of the kernel."""
    return _BOOT_ID.read_text().strip()


def _state_of_file(folder: Path) -> dict[str, int | str]:
    found = os.stat(folder / DATA)
    return {
        "boot": boot_id(),
        "device": found.st_dev,
        "inode": found.st_ino,
        "size_bytes": found.st_size,
        "changed_unix_ns": found.st_mtime_ns,
    }
