"""Metrics as a file, for the textfile collector of node_exporter."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

#: node_exporter runs as another user.
_MODE = 0o644


def write_textfile(path: Path, text: bytes) -> None:
    """Replace the file as a whole, so that nobody reads half of one. Raises ``OSError``.

    Files, in a thread.
    """
    handle, written = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(text)
            os.fchmod(file.fileno(), _MODE)
        os.replace(written, path)
    except BaseException:
        os.unlink(written)
        raise
