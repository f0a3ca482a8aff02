"""Replies, lines and errors of Ollama's own wire. Pure; what lacks raises ``ValueError``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from sutlerd.domain.reply import Embedded, Reply
from sutlerd.domain.usage import Usage
from sutlerd.providers.contract import AttemptFailed, Outcome, Verdict
from sutlerd.providers.error_words import ErrorWords
from sutlerd.providers.ollama_build import prompt_estimate
from sutlerd.providers.openai_embed import read_vector
from sutlerd.providers.openai_read import listed, make_reply, read_model
from sutlerd.providers.tool_calls import ToolCallAssembler

#: Prompts below this many tokens by the estimate fit any context: no use in doubting them.
_SMALL_TOKENS = 512
#: No tokenizer known makes fewer tokens of a text than this part of the estimate, but for
#: blanks and other runs of one character.
_FAR_BELOW = 1 / 5
#: What the server's words stand for where no status says it. The first that is found counts.
_STATUS_OF_WORDS = (
    (re.compile(r"context length|context window", re.I), 400),
    (re.compile(r"model .{0,200}not found|try pulling it", re.I), 404),
    (re.compile(r"does not support|invalid|unsupported", re.I), 400),
    (re.compile(r"server busy|maximum pending requests", re.I), 503),
    (re.compile(r"unauthorized", re.I), 401),
)
_FULL = re.compile(r"server busy|maximum pending requests", re.I)
_NO_ROOM = re.compile(r"requires more system memory", re.I)


def words_without_status(error: Any) -> ErrorWords:
    """Give the words of an error that came at status 200, with the status it stands for."""
    message = error if isinstance(error, str) else str(error)
    status = next((status for words, status in _STATUS_OF_WORDS if words.search(message)), 500)
    return ErrorWords(message=message, status=status)


def amend(failure: AttemptFailed, words: ErrorWords) -> AttemptFailed:
    """Judge better what only Ollama's words tell."""
    if _NO_ROOM.search(words.message):
        # No wait gives the machine more memory; another model may fit.
        failure.verdict, failure.kind = Verdict.MODEL_GONE, "no_memory"
        failure.retry_after_s = None
    elif failure.status == 503 and _FULL.search(words.message):
        # What others say with 429: it is well, and has too much to do just now.
        failure.status, failure.kind = 429, "rate_limit"
    return failure


def read_text(message: Mapping[str, Any]) -> tuple[str, str]:
    """Give content and thinking of a message or a piece of one."""
    content, thinking = message.get("content"), message.get("thinking")
    return (
        content if isinstance(content, str) else "",
        thinking if isinstance(thinking, str) else "",
    )


def finish(
    last: Mapping[str, Any],
    *,
    body: dict[str, Any],
    content: str,
    reasoning: str,
    tools: ToolCallAssembler,
    asked_model: str,
    provider: str,
) -> Reply:
    """Make the reply from its last line. Raises ``ValueError``, or ``AttemptFailed`` for a
    prompt of which the server saw a part only."""
    if last.get("done") is not True:
        raise ValueError("no end")
    if last.get("done_reason") in ("load", "unload"):
        raise ValueError(f"the model was only told to {last['done_reason']}")
    usage = read_usage(last)
    _raise_if_cut(usage.tokens_in, body)
    return make_reply(
        content=content,
        reasoning=reasoning,
        refusal="",
        tools=tools,
        word=last.get("done_reason"),
        model=read_model(last) or asked_model,
        provider=provider,
        usage=usage,
    )


def read_usage(line: Mapping[str, Any]) -> Usage:
    """Read the counts; the server leaves out those that are 0, or that it does not know."""
    return Usage(
        tokens_in=_count(line.get("prompt_eval_count")), tokens_out=_count(line.get("eval_count"))
    )


def read_vectors(
    body: Mapping[str, Any],
    *,
    texts: int,
    dimensions: int | None,
    asked_model: str,
    provider: str,
) -> Embedded:
    """Read the vectors of ``texts`` texts, in their order; they are of unit length."""
    rows = body.get("embeddings")
    if not isinstance(rows, list) or len(rows) != texts:
        raise ValueError(f"{len(rows) if isinstance(rows, list) else 'no'} vectors for {texts}")
    vectors = tuple(read_vector(row) for row in rows)
    sizes = {len(vector) // 4 for vector in vectors}
    if len(sizes) != 1:
        raise ValueError("vectors of different dimensions")
    dimension = sizes.pop()
    if dimensions is not None and dimension != dimensions:
        raise ValueError(f"vectors of {dimension} dimensions where {dimensions} were asked for")
    tokens_in = _count(body.get("prompt_eval_count"))
    return Embedded(
        vectors=vectors,
        dimension=dimension,
        model=read_model(body) or asked_model,
        provider=provider,
        usage=Usage(tokens_in=tokens_in, tokens_out=None if tokens_in is None else 0),
    )


def take_calls(message: Mapping[str, Any], tools: ToolCallAssembler) -> list[Any]:
    """Take the calls of a message; each comes whole. Gives their pieces."""
    pieces = []
    for call in listed(message.get("tool_calls")):
        function = call.get("function")
        if isinstance(function, dict):
            # The index is left out of account: some servers say 0 for every call.
            arguments = function.get("arguments")
            arguments = {} if arguments is None else arguments
            pieces.append(tools.add(None, call.get("id"), function.get("name"), arguments))
    return pieces


def _raise_if_cut(counted: int | None, body: dict[str, Any]) -> None:
    """Fail where the server counted far fewer tokens than the prompt can be: a server that
    does not know ``truncate`` drops the oldest messages and answers without them."""
    if counted is None:
        return
    estimate = prompt_estimate(body)
    if estimate < _SMALL_TOKENS or counted >= estimate:
        return
    # Every word is a token at least, in any tokenizer.
    words = sum(len(message["content"].split()) for message in body["messages"])
    if counted < max(words, estimate * _FAR_BELOW):
        raise AttemptFailed(
            f"the server saw {counted} tokens of a prompt of some {estimate}: it dropped the rest; "
            "raise its context length (context_tokens), or shorten the prompt",
            verdict=Verdict.REFUSED,
            outcome=Outcome.UNKNOWN,
            kind="prompt_cut",
            status=200,
        )


def _count(value: Any) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**53:
        return None
    return value
