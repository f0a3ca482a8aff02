"""The list of models in OpenAI's and in Anthropic's shape; one path serves both. Pure."""

from __future__ import annotations

from collections import Counter
from typing import Any

from sutlerd.http.door import Ask, Page, Refusal, json_page
from sutlerd.http.openai_errors import tell_refusal

Listed = list[dict[str, Any]]
_SOME_DAY = "1970-01-01T00:00:00Z"


def wants_anthropic(ask: Ask) -> bool:
    """Their SDK always names a version of its API; nobody else does."""
    return "Anthropic-Version" in ask.headers


def names(listed: Listed) -> list[tuple[str, str]]:
    """Give (name to ask for, provider): the bare model where one provider alone lists it."""
    counts = Counter(model["id"] for model in listed)
    return [
        (
            model["id"] if counts[model["id"]] == 1 else f"{model['provider']}/{model['id']}",
            model["provider"],
        )
        for model in listed
    ]


def openai_models(listed: Listed) -> dict[str, Any]:
    return {"object": "list", "data": [_openai(*named) for named in names(listed)]}


def anthropic_models(listed: Listed) -> dict[str, Any]:
    data = [_anthropic(name) for name, _ in names(listed)]
    return {
        "data": data,
        "has_more": False,
        "first_id": data[0]["id"] if data else None,
        "last_id": data[-1]["id"] if data else None,
    }


def one_model(listed: Listed, ask: Ask) -> Page:
    """Give one model by the name that is asked for, or by provider and model."""
    full = {f"{model['provider']}/{model['id']}" for model in listed}
    for name, provider in names(listed):
        if ask.rest in (name, f"{provider}/{name}"):
            told = _anthropic(name) if wants_anthropic(ask) else _openai(name, provider)
            return json_page(told)
    hint = " (say provider/model)" if any(each.endswith(f"/{ask.rest}") for each in full) else ""
    return tell_refusal(
        Refusal(status=404, kind="model_not_found", message=f"no such model is listed{hint}")
    )


def _openai(name: str, provider: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": provider}


def _anthropic(name: str) -> dict[str, Any]:
    return {"type": "model", "id": name, "display_name": name, "created_at": _SOME_DAY}
