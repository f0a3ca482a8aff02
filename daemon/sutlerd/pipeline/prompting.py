"""From the name of a template and its variables to the options of a call.

What a template brings along, its schema and its defaults, counts as if the caller had given
it, and gives way to what the caller did give.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from sutlerd.domain.call import SHOWN_HASH_CHARS, PromptUse
from sutlerd.pipeline.shapes import parse_run
from sutlerd.prompts.registry import Expanded, Registry

if TYPE_CHECKING:
    from sutlerd.pipeline.params import RunParams

#: A default gives way not only to its own name.
_GIVES_WAY_TO = {
    "max_tokens": ("max_tokens", "max_completion_tokens"),
    "model": ("model", "provider"),
    "schema": ("schema", "response_format"),
}


def fill_in(
    params: Mapping[str, Any], registry: Registry, aliases: Collection[str]
) -> tuple[RunParams, Expanded]:
    """Give the options of ``prompts.run`` and the messages. Raises ``InvalidParams``."""
    options = parse_run(params)
    expanded = registry.expand(options.name, options.variables)
    brought = dict(expanded.defaults)
    model_class = brought.pop("model_class", None)
    if model_class in aliases:
        brought["model"] = model_class
    if expanded.schema is not None:
        brought["schema"] = expanded.schema
    for name in list(brought):
        if any(params.get(other) is not None for other in _GIVES_WAY_TO.get(name, (name,))):
            del brought[name]
    if brought:
        options = parse_run({**params, **brought})
    return options, expanded


def labelled(labels: Mapping[str, str | int], use: PromptUse | None) -> Mapping[str, str | int]:
    """Add which template a call was made from, whatever its caller claims."""
    if use is None:
        return labels
    return {
        **labels,
        "prompt": f"{use.name}@{use.version}",
        "prompt_hash": use.hash[:SHOWN_HASH_CHARS],
    }
