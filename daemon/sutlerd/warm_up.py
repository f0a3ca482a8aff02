"""Behind READY: what the first call needs and the start does not is loaded, off the loop."""

from __future__ import annotations

import asyncio

from sutlerd.system import garbage
from sutlerd.system.late import LOADING


async def warm_up() -> None:
    """Load it in a thread; a caller who comes before it is done waits for it."""
    await asyncio.to_thread(_load)
    garbage.settle()


def _load() -> None:
    with LOADING:
        from sutlerd.pipeline.params import ChatParams, CompleteParams, EmbedParams
        from sutlerd.server.methods import HelloParams, NoParams

        for shape in (CompleteParams, ChatParams, HelloParams, NoParams, EmbedParams):
            shape.model_rebuild()
