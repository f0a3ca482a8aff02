"""The list of models in OpenAI's and in Anthropic's shape; one path serves both. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from sutlerd.http.anthropic_errors import ANTHROPIC
from sutlerd.http.door import Ask, Page, Refusal, json_page
from sutlerd.http.manners import wants_anthropic
from sutlerd.http.openai_errors import OPENAI

Listed = list[dict[str, Any]]
_SOME_DAY = "1970-01-01T00:00:00Z"


def names(listed: Listed, aliases: Mapping[str, str]) -> list[tuple[str, str]]:
    """Give (name to ask for, owner): the bare model where one provider alone lists it; last
    the aliases, each owned by the provider that its route names, as far as it names one."""
    counts = Counter(model["id"] for model in listed)
    named = [
        (
            model["id"] if counts[model["id"]] == 1 else f"{model['provider']}/{model['id']}",
            model["provider"],
        )
        for model in listed
    ]
    # An alias goes before a model of the same name.
    models = [each for each in named if each[0] not in aliases]
    return models + [(alias, _owner(route, listed)) for alias, route in aliases.items()]


def _owner(route: str, listed: Listed) -> str:
    """Give the provider of an alias's route."""
    head = route.partition("/")[0]
    if any(model["provider"] == head for model in listed):
        return head
    owners = [model["provider"] for model in listed if model["id"] == route]
    return owners[0] if owners else head


def openai_models(listed: Listed, aliases: Mapping[str, str]) -> dict[str, Any]:
    return {"object": "list", "data": [_openai(*named) for named in names(listed, aliases)]}


def anthropic_models(listed: Listed, aliases: Mapping[str, str]) -> dict[str, Any]:
    data = [_anthropic(name) for name, _ in names(listed, aliases)]
    return {
        "data": data,
        "has_more": False,
        "first_id": data[0]["id"] if data else None,
        "last_id": data[-1]["id"] if data else None,
    }


def one_model(listed: Listed, aliases: Mapping[str, str], ask: Ask) -> Page:
    """Give one model by the name that is asked for, an alias, or by provider and model."""
    full = {f"{model['provider']}/{model['id']}" for model in listed}
    anthropic = wants_anthropic(ask.headers)
    for name, provider in names(listed, aliases):
        if ask.rest == name or (name not in aliases and ask.rest == f"{provider}/{name}"):
            return json_page(_anthropic(name) if anthropic else _openai(name, provider))
    hint = " (say provider/model)" if any(each.endswith(f"/{ask.rest}") for each in full) else ""
    manners = ANTHROPIC if anthropic else OPENAI
    return manners.refusal(
        Refusal(status=404, kind="model_not_found", message=f"no such model is listed{hint}")
    )


def _openai(name: str, provider: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": provider}


def _anthropic(name: str) -> dict[str, Any]:
    return {"type": "model", "id": name, "display_name": name, "created_at": _SOME_DAY}
