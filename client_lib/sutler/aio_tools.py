"""The calls of one round of functions, made at once on an event loop."""

import asyncio
from contextvars import copy_context
from inspect import iscoroutinefunction

from sutler.tools import failure_text, result_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, List, Sequence

    from sutler.tools import Wanted


async def outcomes(wanted: "Sequence[Wanted]") -> "List[str]":
    """Give what the model is told of each call, in their order.

    If one call cannot be told (its result is no JSON) or the caller is cancelled, the others
    are cancelled before that is raised.
    """
    tasks = [asyncio.ensure_future(_outcome(one)) for one in wanted]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _outcome(wanted: "Wanted") -> str:
    if wanted.tool is None or wanted.problem is not None:
        return wanted.run()
    if not _is_coroutine_function(wanted.tool):
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(None, copy_context().run, wanted.run)
    try:
        result = await wanted.tool(**wanted.arguments)
    except Exception as error:  # noqa: BLE001  whatever it is, the model is told
        return failure_text(error)
    return result_text(result)


def _is_coroutine_function(tool: "Callable[..., Any]") -> bool:
    """Look into partials and callable objects, too."""
    return iscoroutinefunction(tool) or iscoroutinefunction(type(tool).__call__)
