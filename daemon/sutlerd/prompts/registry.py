"""All templates that can be asked for, each version once. Pure.

What was published never changes: a text that differs from the one known under its name and
version is refused, and who wants to change or to replace it gives it a higher version.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import field
from typing import Any, Final

from sutlerd.config.problems import Problem, nearest, shown
from sutlerd.domain.call import PromptUse
from sutlerd.domain.errors import InvalidParams
from sutlerd.domain.record import record
from sutlerd.prompts.template import Template, render
from sutlerd.prompts.version import Reference

_SHOWN_HASH_CHARS: Final = 12


@record
class Expanded:
    """A template with its values: the messages, and the parameters that it brings along."""

    use: PromptUse
    messages: tuple[dict[str, Any], ...]
    defaults: dict[str, Any]
    schema: dict[str, Any] | None


@record
class Registry:
    """Templates by name, the newest first; ``refused`` tells by key of those that are not
    served, ``problems`` lists everything that is wrong in the files."""

    by_name: dict[str, tuple[Template, ...]] = field(default_factory=dict)
    refused: dict[str, Problem] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    files: int = 0

    def __len__(self) -> int:
        return sum(map(len, self.by_name.values()))

    def with_key(self, key: str) -> Template | None:
        versions = self.by_name.get(key.partition("@")[0], ())
        return next((template for template in versions if template.key == key), None)

    def find(self, reference: str) -> Template:
        """Give the newest version that is meant, a released one if there is any.

        Raises ``InvalidParams`` that names what there is.
        """
        wanted = Reference.parse(reference)
        if wanted is None:
            raise InvalidParams(
                f"params.name: '{shown(reference)}' is no template's name; "
                "write name, name@1 or name@1.2"
            )
        versions = self.by_name.get(wanted.name, ())
        meant = [template for template in versions if wanted.matches(template.version)]
        for template in meant:
            if template.version.is_release or wanted.is_dev:
                return template
        if meant:
            return meant[0]
        raise InvalidParams(self._not_found(wanted))

    def expand(self, reference: str, values: Mapping[str, Any]) -> Expanded:
        """Render. Raises ``InvalidParams``."""
        template = self.find(reference)
        return Expanded(
            use=template.use,
            messages=render(template, values),
            defaults=template.defaults,
            schema=template.schema,
        )

    def _not_found(self, wanted: Reference) -> str:
        for key, problem in self.refused.items():
            if key.partition("@")[0] == wanted.name:
                return f"params.name: not served: {problem.message}"
        versions = self.by_name.get(wanted.name)
        if versions:
            listed = ", ".join(template.version.text for template in versions[:10])
            return f"params.name: {wanted.name} has no such version; there are {listed}"
        near = nearest(wanted.name, self.by_name)
        hint = f"did you mean {near}?" if near else "prompts.list tells which there are"
        return f"params.name: there is no template '{shown(wanted.name)}'; {hint}"


def gather(
    sheets: Iterable[tuple[Template, ...]],
    problems: Iterable[Problem],
    *,
    published: Mapping[str, str],
    before: Registry,
) -> tuple[Registry, dict[str, str]]:
    """Put the templates of all files together; give also the hashes that are new.

    ``published`` has the hash of every version ever seen, by key. Of a version that two files
    hold, the first is taken; of one under development the last. A refused version goes on as
    it was in the registry ``before``, if it was there.
    """
    taken: dict[str, Template] = {}
    fresh: dict[str, str] = {}
    refused: dict[str, Problem] = {}
    count = 0
    for templates in sheets:
        count += 1
        for template in templates:
            key = template.key
            if not template.version.is_release:
                taken[key] = template
                continue
            known = published.get(key) or fresh.setdefault(key, template.hash)
            if known == template.hash:
                taken.setdefault(key, template)
                continue
            refused[key] = _changed(template, known)
            earlier = before.with_key(key)
            if earlier is not None and earlier.hash == known:
                taken.setdefault(key, earlier)
    by_name: dict[str, list[Template]] = {}
    for template in sorted(taken.values(), key=lambda t: t.version, reverse=True):
        by_name.setdefault(template.name, []).append(template)
    registry = Registry(
        by_name={name: tuple(by_name[name]) for name in sorted(by_name)},
        refused=refused,
        problems=(*problems, *refused.values()),
        files=count,
    )
    return registry, fresh


def _changed(template: Template, known: str) -> Problem:
    return Problem(
        source=template.source,
        line=template.line,
        message=(
            f"{template.title} differs from what was published under this version "
            f"(hash {known[:_SHOWN_HASH_CHARS]}…, here {template.hash[:_SHOWN_HASH_CHARS]}…), "
            "and a published version never changes: give it a higher one, "
            "or one that ends in -dev while you work on it"
        ),
    )
