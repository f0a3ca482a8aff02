"""A template and what becomes of it with values: one pass, no code, no second look. Pure.

``{{variable}}`` stands for a declared variable, and so does ``{variable}``; all other braces
stay as they are, so that JSON can be written in a prompt. What a value says is never looked
at: it goes in as it is, into the message where it was asked for.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import field
from typing import Any, Final

from sutlerd.config.problems import nearest, shown
from sutlerd.domain.call import PromptUse
from sutlerd.domain.errors import InvalidParams
from sutlerd.domain.record import record
from sutlerd.prompts.version import Version

MAX_RENDERED_CHARS: Final = 8 * 1024 * 1024
MAX_LISTED_NAMES: Final = 20

_SLOT = re.compile(r"\{\{[ \t]*([A-Za-z_][A-Za-z0-9_]*)[ \t]*\}\}|\{([A-Za-z_][A-Za-z0-9_]*)\}")


@record
class Slot:
    """The place of a variable in a text."""

    name: str


@record
class Text:
    """A text cut at its variables."""

    source: str
    parts: tuple[str | Slot, ...]


@record
class Variable:
    """``default`` is what an optional one has if it is not given."""

    name: str
    required: bool
    default: Any = None
    description: str = ""


@record
class Example:
    """A pair of messages that shows how to answer."""

    user: Text
    assistant: Text


@record
class Template:
    """One version of one prompt.

    ``defaults`` are parameters of the call that it makes unless the caller says otherwise;
    ``schema`` is the JSON Schema of its answer. ``hash`` names everything that can change an
    answer; ``deprecated`` tells what to use instead, and is ``None`` for one in good standing.
    ``source`` and ``line`` are where it is written.
    """

    name: str
    version: Version
    variables: tuple[Variable, ...]
    user: Text
    hash: str
    source: str
    line: int
    system: Text | None = None
    examples: tuple[Example, ...] = ()
    schema: dict[str, Any] | None = None
    defaults: dict[str, Any] = field(default_factory=dict)
    description: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)
    deprecated: str | None = None

    @property
    def key(self) -> str:
        """The name under which this version is published."""
        return f"{self.name}@{self.version.canonical}"

    @property
    def title(self) -> str:
        """The same as its author writes it."""
        return f"{self.name}@{self.version.text}"

    @property
    def use(self) -> PromptUse:
        return PromptUse(
            name=self.name,
            version=self.version.text,
            hash=self.hash,
            deprecated=self.deprecated,
        )


def cut(text: str, declared: frozenset[str]) -> tuple[Text, list[str]]:
    """Cut a text at its variables, and list the ``{{names}}`` that are not declared."""
    parts: list[str | Slot] = []
    undeclared: dict[str, None] = {}
    end = 0
    for found in _SLOT.finditer(text):
        name = found[1] or found[2]
        if name in declared:
            parts += [text[end : found.start()], Slot(name=name)]
            end = found.end()
        elif found[1]:
            undeclared[name] = None
    parts.append(text[end:])
    kept = tuple(part for part in parts if part)
    return Text(source=text, parts=kept), list(undeclared)


def render(template: Template, values: Mapping[str, Any]) -> tuple[dict[str, Any], ...]:
    """Give the messages. Raises ``InvalidParams`` with all missing and unknown variables."""
    _check_names(template, values)
    known = {
        variable.name: _as_text(values.get(variable.name, variable.default))
        for variable in template.variables
    }
    room = _Room()
    messages = []
    if template.system is not None:
        messages.append(room.message("system", template.system, known))
    for example in template.examples:
        messages.append(room.message("user", example.user, known))
        messages.append(room.message("assistant", example.assistant, known))
    messages.append(room.message("user", template.user, known))
    return tuple(messages)


class _Room:
    """Counts what was rendered, before it is."""

    def __init__(self) -> None:
        self._left_chars = MAX_RENDERED_CHARS

    def message(self, role: str, text: Text, values: Mapping[str, str]) -> dict[str, Any]:
        pieces = [part if isinstance(part, str) else values[part.name] for part in text.parts]
        self._left_chars -= sum(map(len, pieces))
        if self._left_chars < 0:
            raise InvalidParams(
                f"params.variables: the prompt would be over {MAX_RENDERED_CHARS} characters"
            )
        return {"role": role, "content": "".join(pieces)}


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _check_names(template: Template, values: Mapping[str, Any]) -> None:
    declared = {variable.name: variable for variable in template.variables}
    problems = [
        f"params.variables.{name}: is missing"
        for name, variable in declared.items()
        if variable.required and name not in values
    ]
    unknown = [name for name in values if name not in declared]
    for name in unknown[:MAX_LISTED_NAMES]:
        near = nearest(name, declared)
        if near is not None:
            hint = f"; did you mean {near}?"
        else:
            hint = f"; there are {', '.join(declared)}" if declared else "; it takes none"
        problems.append(
            f"params.variables.{shown(name)}: {template.title} has no such variable{hint}"
        )
    if len(unknown) > MAX_LISTED_NAMES:
        problems.append(f"params.variables: {len(unknown) - MAX_LISTED_NAMES} more are unknown")
    if problems:
        raise InvalidParams(problems)


def content_hash(
    *,
    name: str,
    version: Version,
    variables: tuple[Variable, ...],
    system: Text | None,
    user: Text,
    examples: tuple[Example, ...],
    schema: dict[str, Any] | None,
    defaults: dict[str, Any],
) -> str:
    """Name, in 64 hexadecimal digits, all that can change an answer.

    What is told to people (descriptions, metadata, a deprecation) may be mended later. The
    order of a schema's properties counts: models answer in it.
    """
    content = [
        name,
        version.canonical,
        sorted([v.name, v.required, json.dumps(v.default, sort_keys=True)] for v in variables),
        None if system is None else system.source,
        user.source,
        [[example.user.source, example.assistant.source] for example in examples],
        schema,
        sorted(defaults.items()),
    ]
    spelt = json.dumps(content, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(spelt.encode()).hexdigest()
