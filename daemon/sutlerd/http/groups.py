"""All groups of routes: one function each, given what it needs, in one list."""

from __future__ import annotations

from sutlerd.http.anthropic_api import AnthropicApi
from sutlerd.http.door import Door
from sutlerd.http.house import House
from sutlerd.http.metrics import metrics
from sutlerd.http.openai_api import OpenAiApi
from sutlerd.http.openapi import openapi
from sutlerd.http.page import page
from sutlerd.http.probes import probes
from sutlerd.http.responses_api import ResponsesApi


def all_doors(house: House) -> list[Door]:
    """Give every route of the site."""
    return [
        *probes(house),
        *openapi(),
        *metrics(house),
        *page(house),
        *OpenAiApi(house).doors(),
        *ResponsesApi(house).doors(),
        *AnthropicApi(house).doors(),
    ]
