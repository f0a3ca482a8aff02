"""The methods about templates: which there are, what they become, what is wrong with a file."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Protocol

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictStr

from sutlerd.domain.caller import Caller
from sutlerd.pipeline.params import RenderParams, TemplateName
from sutlerd.pipeline.schema_shape import schema_problems
from sutlerd.prompts.registry import Registry
from sutlerd.prompts.template import Template
from sutlerd.server.services import Services

MAX_CHECKED_CHARS = 256 * 1024


class Session(Protocol):
    @property
    def caller(self) -> Caller: ...


class _Shape(BaseModel):
    model_config = ConfigDict(extra="forbid", defer_build=True)


class ListParams(_Shape):
    """``name`` selects one template, in one version; ``full`` gives the texts, too."""

    name: TemplateName | None = None
    full: StrictBool = False


class CheckPromptsParams(_Shape):
    """``text`` is a file's content, to be judged before it is put into a folder. Without one
    the folders in use are judged."""

    text: Annotated[StrictStr, Field(max_length=MAX_CHECKED_CHARS)] | None = None
    source: Annotated[StrictStr, Field(max_length=256)] = "text"


def list_templates(services: Services, session: Session, params: ListParams) -> dict[str, Any]:
    registry = services.library.registry
    if params.name is not None:
        return {"templates": [_shown(registry.find(params.name), registry, full=params.full)]}
    listed = [
        _shown(template, registry, full=params.full)
        for versions in registry.by_name.values()
        for template in versions
    ]
    return {"templates": listed}


def render(services: Services, session: Session, params: RenderParams) -> dict[str, Any]:
    expanded = services.library.registry.expand(params.name, params.variables)
    return {
        "messages": expanded.messages,
        **expanded.use.to_wire(),
        "schema": expanded.schema,
        "defaults": expanded.defaults,
    }


async def check(services: Services, session: Session, params: CheckPromptsParams) -> dict[str, Any]:
    """Give ``{templates: [name@version], problems: [text]}``; files are named to operators."""
    library = services.library
    if params.text is None:
        registry = library.registry
        problems = [
            str(problem) if session.caller.may_operate else "a problem that operators are told"
            for problem in registry.problems
        ]
    else:
        registry = await asyncio.to_thread(library.check, params.text, params.source)
        problems = [str(problem) for problem in registry.problems]
    keys = [template.title for versions in registry.by_name.values() for template in versions]
    problems += await asyncio.to_thread(_schema_problems, registry)
    return {"templates": keys, "problems": problems}


def _schema_problems(registry: Registry) -> list[str]:
    """Tell of schemas for which every run would be refused."""
    return [
        f"{template.title}: {problem}"
        for versions in registry.by_name.values()
        for template in versions
        if template.schema is not None
        for problem in schema_problems(template.schema, "schema")
    ]


def _shown(template: Template, registry: Registry, *, full: bool) -> dict[str, Any]:
    row: dict[str, Any] = {
        "name": template.name,
        "version": template.version.text,
        "newest": registry.find(template.name) is template,
        "hash": template.hash,
        "description": template.description,
        "variables": [
            {
                "name": variable.name,
                "required": variable.required,
                "default": variable.default,
                "description": variable.description,
            }
            for variable in template.variables
        ],
        "answers_json": template.schema is not None,
        "defaults": template.defaults,
        "metadata": template.metadata,
        "deprecated": template.deprecated,
    }
    if full:
        row |= {
            "system": template.system.source if template.system else None,
            "user": template.user.source,
            "examples": [
                {"user": example.user.source, "assistant": example.assistant.source}
                for example in template.examples
            ],
            "schema": template.schema,
        }
    return row
