"""From the text of a file to its templates, or to all that is wrong with it. Pure.

Types are checked, not guessed: ``no`` and ``1e3`` where text belongs are faults. A file is
taken whole or not at all.
"""

from __future__ import annotations

from typing import Any, Final

from sutlerd.config.materialise import MAX_VALUES, resolve
from sutlerd.config.problems import Path, Problem, dotted, in_order, shown, suggestion
from sutlerd.config.yaml_tree import Mapping, Node, Scalar, Sequence, parse
from sutlerd.domain.record import record
from sutlerd.prompts.defaults import check_default
from sutlerd.prompts.template import Example, Template, Text, Variable, content_hash, cut
from sutlerd.prompts.version import NAME, Version

MAX_TEMPLATES: Final = 1000
MAX_VARIABLES: Final = 64
MAX_EXAMPLES: Final = 32
MAX_TEXT_CHARS: Final = 256 * 1024

_FILE_KEYS: Final = ("templates", "description")
_KEYS: Final = (
    *("name", "version", "description", "variables", "system", "user", "examples", "metadata"),
    *("schema", "defaults", "deprecated"),
)
_VARIABLE_KEYS: Final = ("name", "description", "default", "required")
_EXAMPLE_KEYS: Final = ("user", "assistant")
_OTHER_TRUTHS: Final = frozenset({"yes", "no", "on", "off"})


class _Unusable(Exception):
    """A part with a fault that has been told; what holds it cannot be made."""


@record
class Sheet:
    """A file as it was read: its templates, or its problems."""

    templates: tuple[Template, ...] = ()
    problems: tuple[Problem, ...] = ()


def read_templates(text: str, source: str) -> Sheet:
    """Read a file's text. ``source`` is its name in problems."""
    root, faults = parse(text)
    reader = _Reader(source)
    for line, path, message in faults:
        reader.fault(line, path, message)
    templates: list[Template] = []
    if root is not None and not (isinstance(root, Scalar) and not root.text):
        try:
            templates = reader.file(root)
        except _Unusable:
            pass
    elif not faults:
        reader.fault(1, (), "is empty; it must hold 'templates:'")
    if reader.problems:
        return Sheet(problems=in_order(reader.problems))
    return Sheet(templates=tuple(templates))


class _Reader:
    def __init__(self, source: str) -> None:
        self.problems: list[Problem] = []
        self._source = source
        self._values = 0

    def fault(self, line: int, path: Path, message: str) -> _Unusable:
        self.problems.append(
            Problem(source=self._source, line=line, path=dotted(path), message=message)
        )
        return _Unusable()

    def file(self, root: Node) -> list[Template]:
        entries = self._entries(root, (), _FILE_KEYS)
        if "templates" not in entries:
            raise self.fault(root.line, (), "must hold 'templates:', a list of templates")
        listed = self._items(entries["templates"], ("templates",), MAX_TEMPLATES)
        templates: list[Template] = []
        first_lines: dict[str, int] = {}
        for place, node in enumerate(listed):
            try:
                template = self._template(node, ("templates", place))
            except _Unusable:
                continue
            if template.key in first_lines:
                said = f"{template.title} is here twice, first on line {first_lines[template.key]}"
                self.fault(template.line, ("templates", place), said)
            first_lines.setdefault(template.key, template.line)
            templates.append(template)
        return templates

    def _template(self, node: Node, path: Path) -> Template:
        entries = self._entries(node, path, _KEYS)
        before = len(self.problems)
        for key in ("name", "version", "user"):
            if key not in entries:
                self.fault(node.line, (*path, key), "is missing")
        name = self._name(entries, path)
        version = self._version(entries, path)
        variables = self._variables(entries.get("variables"), (*path, "variables"))
        declared = frozenset(variable.name for variable in variables)
        system = self._prompt(entries, "system", path, declared)
        user = self._prompt(entries, "user", path, declared)
        examples = self._examples(entries.get("examples"), (*path, "examples"), declared)
        schema = self._group(entries, "schema", path)
        defaults = self._group(entries, "defaults", path) or {}
        for key, value in defaults.items():
            if why := check_default(key, value):
                self.fault(entries["defaults"].line, (*path, "defaults", key), why)
        description = self._plain_text(entries, "description", path) or ""
        deprecated = self._deprecated(entries.get("deprecated"), (*path, "deprecated"))
        metadata = self._group(entries, "metadata", path) or {}
        if len(self.problems) > before or name is None or version is None or user is None:
            raise _Unusable
        return Template(
            name=name,
            version=version,
            variables=variables,
            system=system,
            user=user,
            examples=examples,
            schema=schema,
            defaults=defaults,
            description=description,
            metadata=metadata,
            deprecated=deprecated,
            source=self._source,
            line=node.line,
            hash=content_hash(
                name=name,
                version=version,
                variables=variables,
                system=system,
                user=user,
                examples=examples,
                schema=schema,
                defaults=defaults,
            ),
        )

    # -- the parts of a template

    def _name(self, entries: dict[str, Node], path: Path) -> str | None:
        text = self._plain_text(entries, "name", path)
        if text is not None and NAME.fullmatch(text) is None:
            said = "must be 1 to 64 letters, digits, '_', '-' or '.', e.g. plan_generation"
            self.fault(entries["name"].line, (*path, "name"), said)
            return None
        return text

    def _version(self, entries: dict[str, Node], path: Path) -> Version | None:
        """Read the characters that are written: 1.10 is no number, with or without quotes."""
        node = entries.get("version")
        if node is None:
            return None
        version = Version.parse(node.text) if isinstance(node, Scalar) else None
        if version is None:
            said = 'must be numbers with dots between them, e.g. "1.2", or "1.3-dev"'
            self.fault(node.line, (*path, "version"), said)
        return version

    def _variables(self, node: Node | None, path: Path) -> tuple[Variable, ...]:
        """Read a list of names or groups, or a group by name."""
        if node is None:
            return ()
        if isinstance(node, Mapping):
            pairs = [(name, inner, (*path, name)) for name, (_, inner) in node.entries.items()]
            variables = [self._variable(name, inner, at) for name, inner, at in pairs]
        else:
            variables = []
            for place, inner in enumerate(self._items(node, path, MAX_VARIABLES)):
                at = (*path, place)
                if isinstance(inner, Scalar):
                    variables.append(self._variable(self._text(inner, at), None, at))
                    continue
                entries = self._entries(inner, at, _VARIABLE_KEYS)
                if "name" not in entries:
                    raise self.fault(inner.line, (*at, "name"), "is missing")
                variables.append(self._variable(self._text(entries["name"], at), inner, at))
        if len(variables) > MAX_VARIABLES:
            self.fault(node.line, path, f"more than {MAX_VARIABLES} variables")
        names = [variable.name for variable in variables]
        for name in {name for name in names if names.count(name) > 1}:
            self.fault(node.line, path, f"{shown(name)} is declared twice")
        for name in names:
            if not (name.isascii() and name.isidentifier()) or len(name) > 64:
                said = f"'{shown(name)}' must be letters, digits and '_', e.g. available_tools"
                self.fault(node.line, path, said)
        return tuple(variables)

    def _variable(self, name: str, node: Node | None, path: Path) -> Variable:
        if node is None or (isinstance(node, Scalar) and node.plain and resolve(node.text) is None):
            return Variable(name=name, required=True)
        if isinstance(node, Scalar):
            return Variable(name=name, required=True, description=self._text(node, path))
        entries = self._entries(node, path, _VARIABLE_KEYS)
        has_default = "default" in entries
        required = not has_default
        if "required" in entries:
            wanted = self._value(entries["required"], (*path, "required"))
            if wanted is has_default or not isinstance(wanted, bool):
                said = "must be false for one with a default, and true for one without"
                self.fault(entries["required"].line, (*path, "required"), said)
        default = self._value(entries["default"], (*path, "default")) if has_default else None
        description = self._plain_text(entries, "description", path) or ""
        return Variable(name=name, required=required, default=default, description=description)

    def _prompt(
        self, entries: dict[str, Node], key: str, path: Path, declared: frozenset[str]
    ) -> Text | None:
        text = self._plain_text(entries, key, path)
        if text is None:
            return None
        found, undeclared = cut(text, declared)
        for name in undeclared:
            said = f"{{{{{shown(name)}}}}} is not among the variables{suggestion(name, declared)}"
            self.fault(entries[key].line, (*path, key), said)
        return found

    def _examples(
        self, node: Node | None, path: Path, declared: frozenset[str]
    ) -> tuple[Example, ...]:
        examples = []
        for place, inner in enumerate(self._items(node, path, MAX_EXAMPLES) if node else ()):
            at = (*path, place)
            entries = self._entries(inner, at, _EXAMPLE_KEYS)
            user = self._prompt(entries, "user", at, declared)
            assistant = self._prompt(entries, "assistant", at, declared)
            if user is None or assistant is None:
                raise self.fault(inner.line, at, "an example has a user and an assistant part")
            examples.append(Example(user=user, assistant=assistant))
        return tuple(examples)

    def _deprecated(self, node: Node | None, path: Path) -> str | None:
        if node is None:
            return None
        value = self._value(node, path)
        if value in (None, False):
            return None
        if value is True:
            return "deprecated"
        if not isinstance(value, str):
            raise self.fault(node.line, path, "must be true, or say in text what to use instead")
        return value

    # -- the shapes of nodes

    def _entries(self, node: Node, path: Path, keys: tuple[str, ...]) -> dict[str, Node]:
        if not isinstance(node, Mapping):
            raise self.fault(node.line, path, f"must be a group of {', '.join(keys)}")
        for key, (line, _) in node.entries.items():
            if key not in keys:
                near = suggestion(key, keys) or f"; known here: {', '.join(keys)}"
                self.fault(line, (*path, key), f"unknown key '{shown(key)}'{near}")
        return {key: inner for key, (_, inner) in node.entries.items() if key in keys}

    def _items(self, node: Node, path: Path, limit: int) -> list[Node]:
        if not isinstance(node, Sequence):
            raise self.fault(node.line, path, "must be a list")
        if len(node.items) > limit:
            raise self.fault(node.line, path, f"more than {limit}")
        return node.items

    def _plain_text(self, entries: dict[str, Node], key: str, path: Path) -> str | None:
        node = entries.get(key)
        return None if node is None else self._text(node, (*path, key))

    def _text(self, node: Node, path: Path) -> str:
        if not isinstance(node, Scalar):
            raise self.fault(node.line, path, "must be text")
        if node.plain and not isinstance(resolve(node.text), str):
            raise self.fault(node.line, path, "must be text; put it in quotes")
        if not 0 < len(node.text) <= MAX_TEXT_CHARS:
            raise self.fault(node.line, path, f"must have 1 to {MAX_TEXT_CHARS} characters")
        return node.text

    def _group(self, entries: dict[str, Node], key: str, path: Path) -> dict[str, Any] | None:
        node = entries.get(key)
        if node is None:
            return None
        if not isinstance(node, Mapping):
            raise self.fault(node.line, (*path, key), "must be a group")
        found: dict[str, Any] = self._value(node, (*path, key))
        return found

    def _value(self, node: Node, path: Path) -> Any:
        """Read any JSON value. Truths are ``true`` and ``false`` alone."""
        self._values += 1
        if self._values > MAX_VALUES:
            raise self.fault(node.line, (), f"unfolds to more than {MAX_VALUES} values")
        if isinstance(node, Mapping):
            items = node.entries.items()
            return {key: self._value(inner, (*path, key)) for key, (_, inner) in items}
        if isinstance(node, Sequence):
            return [self._value(inner, (*path, n)) for n, inner in enumerate(node.items)]
        if not node.plain:
            return node.text
        if node.text.lower() in _OTHER_TRUTHS:
            raise self.fault(
                node.line, path, f"'{node.text}' is true or false, or text to be put in quotes"
            )
        return resolve(node.text)
