"""The ways to the parameters' shapes, which are loaded behind READY.

They stand on pydantic, whose import would be a good part of the start.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sutlerd.system.late import LOADING

if TYPE_CHECKING:
    from sutlerd.pipeline.params import ChatParams, CompleteParams, RunParams


def parse_chat(params: Mapping[str, Any]) -> ChatParams:
    """Check what ``chat`` was given. Raises ``InvalidParams``, like all of these."""
    with LOADING:
        from sutlerd.pipeline.params import ChatParams, parse
    return parse(ChatParams, params)


def parse_run(params: Mapping[str, Any]) -> RunParams:
    with LOADING:
        from sutlerd.pipeline.params import RunParams, parse
    return parse(RunParams, params)


def parse_messages(method: str, params: Mapping[str, Any]) -> CompleteParams:
    """Check what ``complete``, ``json`` or ``function_call`` was given."""
    with LOADING:
        from sutlerd.pipeline.params import SHAPES, parse
    return parse(SHAPES[method], params)
