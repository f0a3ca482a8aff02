"""YAML text in, a tree with line numbers out. No types and no meaning yet.

Built on the parser's events alone, so that nothing a file says can construct anything:
there is no tag to run, aliases share nodes and are counted, depth and size are bounded
while reading. Everything that is wrong is collected; only broken syntax ends the reading.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import field
from typing import Any, Final

import yaml

from sutlerd.config.problems import Path, shown
from sutlerd.domain.record import record

MAX_FILE_BYTES: Final = 1024 * 1024
MAX_DEPTH: Final = 24
MAX_ALIASES: Final = 256
MAX_MERGED_KEYS: Final = 10_000

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TAG_PREFIX = "tag:yaml.org,2002:"
_MERGE = "<<"
#: What YAML does not allow in a file at all.
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@record
class Scalar:
    """``plain`` means written without quotes, so that it may stand for a number or a truth."""

    line: int
    text: str
    plain: bool


@record
class Sequence:
    line: int
    items: list[Node] = field(default_factory=list)


@record
class Mapping:
    """``entries``: key, the key's line, value; in the file's order, each key once."""

    line: int
    entries: dict[str, tuple[int, Node]] = field(default_factory=dict)


Node = Scalar | Sequence | Mapping

#: The line, counted from 1, the path, and what is wrong there.
Fault = tuple[int, Path, str]


class _Stop(Exception):
    """Reading on would be of no use: the last fault says why."""


def parse(text: str) -> tuple[Node | None, list[Fault]]:
    """Read one YAML document; ``None`` for an empty one."""
    reader = _Reader(text)
    try:
        root = reader.document()
    except _Stop:
        root = None
    return root, reader.faults


class _Reader:
    def __init__(self, text: str) -> None:
        self.faults: list[Fault] = []
        self._events = self._checked(text)
        self._anchors: dict[str, Node] = {}
        self._alias_count = 0
        self._merged_count = 0

    def document(self) -> Node | None:
        root: Node | None = None
        documents = 0
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    self._stop(event, "a second document; a configuration is one document")
            elif isinstance(event, yaml.NodeEvent):
                root = self._node(event, ())
        return root

    def _checked(self, text: str) -> Iterator[Any]:
        """Yield the parser's events; turn its complaints into faults."""
        if odd := _UNPRINTABLE.search(text):
            line = text.count("\n", 0, odd.start()) + 1
            self.faults.append((line, (), f"not YAML: the control character U+{ord(odd[0]):04X}"))
            raise _Stop
        try:
            yield from yaml.parse(text, Loader=_LOADER)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            said = ": ".join(part for part in (error.context, error.problem) if part)
            self.faults.append((mark.line + 1 if mark else 1, (), f"not YAML: {said}"))
            raise _Stop from None
        except yaml.YAMLError:
            self.faults.append((1, (), "not YAML"))
            raise _Stop from None

    def _node(self, event: Any, path: Path) -> Node:
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event, path)
        if len(path) >= MAX_DEPTH:
            self._stop(event, f"nested more than {MAX_DEPTH} deep")
        line = _line(event)
        node: Node
        if isinstance(event, yaml.ScalarEvent):
            self._check_tag(event, path, "str")
            node = Scalar(
                line=line, text=event.value, plain=bool(event.implicit[0]) and event.tag is None
            )
        elif isinstance(event, yaml.SequenceStartEvent):
            self._check_tag(event, path, "seq")
            node = Sequence(line=line)
            while not isinstance(inner := next(self._events), yaml.SequenceEndEvent):
                node.items.append(self._node(inner, (*path, len(node.items))))
        else:
            self._check_tag(event, path, "map")
            node = Mapping(line=line)
            self._fill(node, path)
        if event.anchor is not None:
            # Only now: an alias inside of its own anchor would make an endless tree.
            self._anchors[event.anchor] = node
        return node

    def _fill(self, mapping: Mapping, path: Path) -> None:
        merged: list[Mapping] = []
        first_lines: dict[str, int] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            key = self._node(event, (*path, "?"))
            name = key.text if isinstance(key, Scalar) else "?"
            value = self._node(next(self._events), (*path, name))
            if not isinstance(key, Scalar):
                self.faults.append((_line(event), path, "a key must be text"))
            elif key.text == _MERGE and key.plain:
                merged.extend(self._to_merge(_line(event), path, value))
            elif key.text in first_lines:
                first = first_lines[key.text]
                said = f"duplicate key '{shown(key.text)}', first on line {first}"
                self.faults.append((_line(event), (*path, key.text), said))
            else:
                first_lines[key.text] = _line(event)
                mapping.entries[key.text] = (_line(event), value)
        for other in merged:
            self._merged_count += len(other.entries)
            if self._merged_count > MAX_MERGED_KEYS:
                said = f"'<<' merges more than {MAX_MERGED_KEYS} keys"
                self.faults.append((mapping.line, path, said))
                raise _Stop
            for name, entry in other.entries.items():
                mapping.entries.setdefault(name, entry)

    def _to_merge(self, line: int, path: Path, value: Node) -> list[Mapping]:
        candidates = value.items if isinstance(value, Sequence) else [value]
        mappings = [node for node in candidates if isinstance(node, Mapping)]
        if len(mappings) != len(candidates):
            self.faults.append((line, path, "'<<' merges mappings only"))
        return mappings

    def _alias(self, event: Any, path: Path) -> Node:
        self._alias_count += 1
        if self._alias_count > MAX_ALIASES:
            self._stop(event, f"more than {MAX_ALIASES} aliases")
        node = self._anchors.get(event.anchor)
        if node is None:
            self.faults.append((_line(event), path, f"alias '*{shown(event.anchor)}' of no anchor"))
            return Scalar(line=_line(event), text="", plain=True)
        return node

    def _check_tag(self, event: Any, path: Path, allowed: str) -> None:
        """Let ``!`` and YAML's own name of this kind pass, and nothing else."""
        if event.tag is not None and event.tag not in ("!", _TAG_PREFIX + allowed):
            self.faults.append((_line(event), path, f"unknown tag '{shown(event.tag)}'"))

    def _stop(self, event: Any, message: str) -> None:
        self.faults.append((_line(event), (), message))
        raise _Stop


def _line(event: Any) -> int:
    line: int = event.start_mark.line
    return line + 1
