"""The hashes of all versions ever published here, in one small file of the state folder."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from sutlerd.domain.ports import EventLog

FILE_NAME: Final = "prompts.json"
MAX_BYTES: Final = 16 * 1024 * 1024
_FORMAT: Final = 1


class Published:
    """``hashes`` is by ``name@version``. Used by one thread at a time.

    A file that is broken is put aside; then versions count as published from now on.
    """

    def __init__(self, folder: Path, log: EventLog) -> None:
        self._path = folder / FILE_NAME
        self._log = log
        self.hashes: dict[str, str] = {}

    def read(self) -> None:
        """Load what was written before. Never raises."""
        try:
            raw = self._path.read_bytes()
        except FileNotFoundError:
            return
        except OSError as error:
            self._complain(f"cannot be read: {error.strerror}")
            return
        try:
            if len(raw) > MAX_BYTES:
                raise ValueError("is too large")
            self.hashes = _hashes(json.loads(raw))
        except (ValueError, RecursionError):
            aside = self._path.with_suffix(".broken")
            self._complain(f"is broken and was moved to {aside.name}; what changed is not known")
            try:
                self._path.replace(aside)
            except OSError as error:
                self._complain(f"cannot be moved: {error.strerror}")

    def add(self, fresh: Mapping[str, str]) -> None:
        """Keep new hashes, on disk before anybody is answered from them if that can be."""
        if not fresh:
            return
        self.hashes = {**self.hashes, **fresh}
        text = json.dumps({"format": _FORMAT, "published": self.hashes}, indent=1, sort_keys=True)
        beside = self._path.with_suffix(".new")
        try:
            descriptor = os.open(
                beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600
            )
            with open(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(self._path)
        except OSError as error:
            self._complain(f"cannot be written: {error.strerror}")

    def _complain(self, said: str) -> None:
        self._log.event("error", "prompts", said=f"{self._path}: {said}")


def _hashes(found: Any) -> dict[str, str]:
    if not isinstance(found, dict) or found.get("format") != _FORMAT:
        raise ValueError("another format")
    hashes = found.get("published")
    if not isinstance(hashes, dict) or not all(isinstance(text, str) for text in hashes.values()):
        raise ValueError("no hashes")
    return hashes
