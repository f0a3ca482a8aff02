"""Calls of functions held against what the model was told of their parameters.

Only ``function_call`` is judged so, and repaired like an answer of a schema: whoever asks by
``complete``, or over HTTP, is handed what the model said and judges for himself.
"""

from __future__ import annotations

from sutlerd.domain.call import ChatRequest
from sutlerd.domain.errors import InvalidParams
from sutlerd.domain.reply import Reply, ToolCall
from sutlerd.pipeline.schema_judge import MAX_ERRORS, Judgement, SchemaJudge

_NAME_CHARS = 64


async def prepare_parameters(judge: SchemaJudge, request: ChatRequest, *, uid: int) -> None:
    """Raise ``InvalidParams`` for parameters that their draft does not allow."""
    for place, function in enumerate(request.functions):
        if function.get("parameters") is not None:
            try:
                await judge.prepare(function["parameters"], uid=uid)
            except InvalidParams as error:
                path = f"params.functions[{place}].parameters"
                raise InvalidParams(
                    [said.replace("params.schema", path, 1) for said in error.data["problems"]]
                ) from None


async def judge_arguments(
    judge: SchemaJudge, request: ChatRequest, reply: Reply, *, uid: int
) -> Judgement:
    """Say of each call what is wrong with it, ``name$.path: why``."""
    parameters = {each["name"]: each.get("parameters") or {} for each in request.functions}
    errors: list[str] = []
    final = False
    for call in reply.tool_calls:
        if call.name not in parameters:
            errors.append(f"{call.name[:_NAME_CHARS]}: there is no such function")
            continue
        judged = _plain(call) or await judge.judge(call.arguments, parameters[call.name], uid=uid)
        errors += [f"{call.name}{error}" for error in judged.errors]
        final = final or judged.final
    return Judgement(errors=tuple(errors[:MAX_ERRORS]), final=final)


def _plain(call: ToolCall) -> Judgement | None:
    """Judge what needs no schema; ``None`` if it stands."""
    if call.broken:
        return Judgement(errors=("$: the arguments are not JSON",))
    if not call.arguments.lstrip().startswith("{"):
        return Judgement(errors=("$: the arguments are no object",))
    return None
