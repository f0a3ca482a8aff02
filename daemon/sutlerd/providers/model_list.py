"""Which models a server says it has, in any provider's spelling. Pure."""

from __future__ import annotations

from typing import Any

from sutlerd.providers.bounded_json import read_object

#: Models that are taken from one list.
MAX_MODELS = 10_000
#: dialect -> where the list is, behind the base address
PATHS = {
    "openai_chat": "/models",
    "openai_responses": "/models",
    "anthropic": "/v1/models?limit=1000",
    "ollama": "/api/tags",
}


def read_model_list(body: bytes) -> tuple[str, ...]:
    """Give the ids in the server's order; ``ValueError`` for what is no list of models.

    OpenAI's and Anthropic's lists are ``data`` with ``id``, Ollama's ``models`` with ``name``.
    """
    read = read_object(body)
    listed = read.get("data", read.get("models"))
    if not isinstance(listed, list):
        raise ValueError("no list of models")
    names = (_name(item) for item in listed[:MAX_MODELS])
    return tuple(dict.fromkeys(name for name in names if name is not None))


def _name(item: Any) -> str | None:
    if not isinstance(item, dict):
        return None
    name = item.get("id") or item.get("name") or item.get("model")
    return name if isinstance(name, str) and name.isprintable() and len(name) <= 256 else None
