"""The folders of prompts: read when first asked for, looked at again and again for changes.

A file that breaks keeps its last good templates. What is read is one whole picture, put in
place at once by the event loop; reading goes on in a thread.
"""

from __future__ import annotations

import asyncio
import os
import stat
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from sutlerd.config.problems import Problem
from sutlerd.config.source import FileRead, read_file, writable_by_others
from sutlerd.config.yaml_tree import MAX_FILE_BYTES
from sutlerd.domain.ports import EventLog
from sutlerd.domain.record import record
from sutlerd.prompts.published import Published
from sutlerd.prompts.reading import Sheet, read_templates
from sutlerd.prompts.registry import Registry, gather
from sutlerd.prompts.template import Template

LOOK_INTERVAL_S: Final = 1.0
MAX_FILES: Final = 512
SUFFIXES: Final = (".yaml", ".yml")

#: What tells one content of a file from the next, without reading it.
Mark = tuple[int, int, int, int]


@record
class Folder:
    """``trusted`` is the one that came with the code: who can write there can write this, too."""

    path: Path
    trusted: bool = False


@record
class _Kept:
    """A file as it was last read: its good templates, and what is wrong with it now."""

    mark: Mark
    templates: tuple[Template, ...]
    problems: tuple[Problem, ...]


class PromptLibrary:
    """``registry`` is loaded when first used; ``look`` may run in another thread."""

    def __init__(
        self, folders: Sequence[Folder], published: Published, log: EventLog, *, own_uid: int
    ) -> None:
        self._folders = tuple(folders)
        self._published = published
        self._log = log
        self._own_uid = own_uid
        self._lock = threading.Lock()
        self._in_place: Registry | None = None
        self._latest: Registry | None = None
        self._files: dict[Path, _Kept] = {}
        self._lost: dict[Path, Problem] = {}
        self._marks: dict[Path, Mark] = {}
        self._told: frozenset[Problem] = frozenset()
        self._is_closed = False

    @property
    def registry(self) -> Registry:
        if self._in_place is None:
            self.look()
            self._in_place = self._latest
            assert self._in_place is not None, "a look leaves a registry"
        return self._in_place

    def read_from(self, folders: Sequence[Folder]) -> None:
        """Read at once what is in these folders, which are watched from now on."""
        with self._lock:
            if self._latest is None:
                self._published.read()
            self._folders = tuple(folders)
            self._read_changes(at_once=True)
            self._build()

    def look(self) -> bool:
        """Read what has changed; says whether there is something new to put in place."""
        with self._lock:
            first = self._latest is None
            if first:
                self._published.read()
            if self._read_changes(at_once=first) or first:
                self._build()
            return self._latest is not self._in_place

    @property
    def is_in_place(self) -> bool:
        """Whether anybody can have been served from templates so far."""
        return self._in_place is not None

    def put_in_place(self) -> None:
        """Serve from what was read last. On the event loop."""
        self._in_place = self._latest

    def check(self, text: str, source: str) -> Registry:
        """Judge a file's text as if it were added to the folders; nothing is kept."""
        sheet = read_templates(text, source)
        registry, _ = gather(
            [sheet.templates],
            sheet.problems,
            published=self._published.hashes,
            before=Registry(),
        )
        return registry

    # -- with the lock held

    def _read_changes(self, *, at_once: bool) -> bool:
        """Look at all files, and read those that are new or changed.

        One that changed since the last look is left alone until the next: whoever writes it
        may be half way. Files of a folder that cannot be read stay as they were.
        """
        marks: dict[Path, Mark] = {}
        trusted: dict[Path, bool] = {}
        lost: dict[Path, Problem] = {}
        for folder in self._folders:
            try:
                for path, mark in self._listed(folder):
                    marks[path], trusted[path] = mark, folder.trusted
            except OSError as error:
                said = error.strerror or str(error)
                lost[folder.path] = Problem(source=str(folder.path), message=said)
        files: dict[Path, _Kept] = {}
        for path, mark in marks.items():
            before = self._files.get(path)
            settled = at_once or self._marks.get(path) == mark
            if settled and (before is None or before.mark != mark):
                files[path] = self._read(path, mark, before, trusted=trusted[path])
            elif before is not None:
                files[path] = before
        for path, before in self._files.items():
            if path.parent in lost:
                files.setdefault(path, before)
        changed = files != self._files or lost != self._lost
        self._marks, self._files, self._lost = marks, files, lost
        return changed

    def _listed(self, folder: Folder) -> Iterator[tuple[Path, Mark]]:
        """Give the prompt files of a folder by name. Raises ``OSError`` with what to say."""
        if not folder.trusted:
            facts = folder.path.stat()
            if not stat.S_ISDIR(facts.st_mode):
                raise OSError(0, "is not a folder")
            seen = FileRead(data=b"", owner_uid=facts.st_uid, mode=stat.S_IMODE(facts.st_mode))
            if why := writable_by_others(seen, self._own_uid):
                raise OSError(0, why)
        with os.scandir(folder.path) as entries:
            names = sorted(entry.name for entry in entries if _is_prompt_file(entry.name))
        if len(names) > MAX_FILES:
            raise OSError(0, f"has more than {MAX_FILES} files")
        for name in names:
            path = folder.path / name
            try:
                facts = path.stat()
            except OSError:
                yield path, (0, 0, 0, 0)  # reading it will say why
                continue
            yield path, (facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns)

    def _read(self, path: Path, mark: Mark, before: _Kept | None, *, trusted: bool) -> _Kept:
        sheet = self._sheet(path, trusted=trusted)
        templates = sheet.templates
        if sheet.problems and before is not None:
            templates = before.templates
        return _Kept(mark=mark, templates=templates, problems=sheet.problems)

    def _sheet(self, path: Path, *, trusted: bool) -> Sheet:
        source = str(path)
        try:
            found = read_file(path, MAX_FILE_BYTES + 1)
        except OSError as error:
            return _refused(source, f"cannot be read: {error.strerror}")
        if not trusted and (why := writable_by_others(found, self._own_uid)):
            return _refused(source, why)
        if len(found.data) > MAX_FILE_BYTES:
            return _refused(source, f"is over {MAX_FILE_BYTES} bytes")
        try:
            text = found.data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = found.data.count(b"\n", 0, error.start) + 1
            return _refused(source, "not YAML: not UTF-8 text", line)
        return read_templates(text, source)

    def close(self) -> None:
        """Say nothing from now on: the daemon's last line is not ours."""
        with self._lock:
            self._is_closed = True

    def _build(self) -> None:
        registry, fresh = gather(
            [kept.templates for kept in self._files.values()],
            [*self._lost.values(), *(p for kept in self._files.values() for p in kept.problems)],
            published=self._published.hashes,
            before=self._latest or Registry(),
        )
        self._published.add(fresh)
        self._latest = registry
        if self._is_closed:
            return
        for problem in registry.problems:
            if problem not in self._told:
                self._log.event("error", "prompts", said=str(problem))
        self._told = frozenset(registry.problems)
        self._log.event(
            "info",
            "prompts",
            said="the library was read",
            templates=len(registry),
            files=registry.files,
            problems=len(registry.problems),
        )


async def watch(library: PromptLibrary, on_change: Callable[[], None]) -> None:
    """Look for changes for ever; ``on_change`` runs whenever other templates are in place."""
    while True:
        if await asyncio.to_thread(library.look):
            others_were = library.is_in_place
            library.put_in_place()
            if others_were:
                on_change()
        await asyncio.sleep(LOOK_INTERVAL_S)


def _is_prompt_file(name: str) -> bool:
    return name.endswith(SUFFIXES) and not name.startswith(".")


def _refused(source: str, message: str, line: int | None = None) -> Sheet:
    return Sheet(problems=(Problem(source=source, line=line, message=message),))
