"""``sutler embed`` and ``sutler count-tokens``: numbers for texts."""

from __future__ import annotations

import json
import struct

from sutler import wire
from sutler.cli_command import Command, open_client
from sutler.cli_exit import OK, UsageProblem
from sutler.cli_input import decoded, parsed_json, read_file, sendable, text_from
from sutler.cli_options import add_label_option, add_timeout_option, count

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any, Dict, Iterator, List, Sequence

    from sutler.cli_terminal import Terminal
    from sutler.types import Embeddings

#: One request carries so many texts at most, so that a file of any length can be embedded.
BATCH_TEXTS = 256
BATCH_BYTES = 1024 * 1024

_FLOAT32 = struct.Struct("<f")

_EMBED_DETAILS = """\
Without TEXT, every line of standard input (or of --file) that is not blank is a text.
Into a pipe, and with --jsonl: one line a text, {"index": 0, "embedding": [...]}.
With --json: one object, {"embeddings": [[...], ...], "model": …, "usage": …}.
On a terminal: a glimpse of each vector.

examples:
  sutler embed "a cat" "a dog"
  sutler embed --file titles.txt --jsonl > vectors.jsonl
"""

_COUNT_DETAILS = """\
examples:
  sutler count-tokens "How many tokens is this?"
  sutler count-tokens --json --model gpt-4o < essay.txt
  sutler count-tokens --messages conversation.json
"""


def _embed_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("text", nargs="*", help="the texts; - or nothing: lines of standard input")
    parser.add_argument("--file", metavar="FILE", help="read the texts from FILE, one a line")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print one object with everything")
    form.add_argument("--jsonl", action="store_true", help="print one line a text")
    group = parser.add_argument_group("the call")
    group.add_argument("--model", metavar="NAME", help="a model, an alias, or provider/model")
    group.add_argument("--provider", metavar="NAME", help="a provider of the configuration")
    group.add_argument("--dimensions", type=count, metavar="N", help="wanted length of a vector")
    group.add_argument("--cache", choices=wire.CACHE_MODES, metavar="MODE", help="as for chat")
    add_label_option(group)
    add_timeout_option(group, None)


def run_embed(args: argparse.Namespace, term: Terminal) -> int:
    texts = _texts(args, term)
    options = {
        name: getattr(args, name)
        for name in ("model", "provider", "dimensions", "cache")
        if getattr(args, name) is not None
    }
    for_person = term.out_is_terminal and not args.jsonl
    answers: List[Embeddings] = []
    index = 0
    with open_client(args, args.timeout) as client:
        for batch in batches(texts):
            answer = client.embed(batch, **options)
            if args.json:
                answers.append(answer)
                continue
            for text, vector in zip(batch, answer):
                term.line(_row(index, text, vector, for_person))
                index += 1
    if args.json:
        term.line(json.dumps(joined(answers)))
    return OK


def _texts(args: argparse.Namespace, term: Terminal) -> List[str]:
    if args.file is not None and args.text:
        raise UsageProblem("give either texts or --file, not both")
    if args.text and args.text != ["-"]:
        return [sendable(text, "a text") for text in args.text]
    path = args.file or "-"
    raw = decoded(read_file(path, term), "standard input" if path == "-" else path)
    # Not splitlines(): a form feed or a Unicode line separator may be part of a text.
    texts = [line.rstrip("\r") for line in raw.split("\n") if line.strip()]
    if not texts:
        raise UsageProblem("there is no text to embed: give texts or lines of standard input")
    return texts


def batches(texts: Sequence[str]) -> Iterator[List[str]]:
    """Cut ``texts`` into lists that fit one request each, in order."""
    batch: List[str] = []
    held_bytes = 0
    for text in texts:
        text_bytes = len(text.encode("utf-8"))
        if batch and (len(batch) == BATCH_TEXTS or held_bytes + text_bytes > BATCH_BYTES):
            yield batch
            batch, held_bytes = [], 0
        batch.append(text)
        held_bytes += text_bytes
    if batch:
        yield batch


def short(value: float) -> float:
    """Give a float32 value the fewest digits that still mean the same float32."""
    wanted = _FLOAT32.pack(value)
    for digits in (6, 7, 8):
        rounded = float("%.*g" % (digits, value))
        if _FLOAT32.pack(rounded) == wanted:
            return rounded
    return float("%.9g" % value)


def _row(index: int, text: str, vector: Sequence[float], for_person: bool) -> str:
    if not for_person:
        return json.dumps({"index": index, "embedding": [short(value) for value in vector]})
    glimpse = ", ".join("%.4f" % value for value in vector[:4])
    words = text if len(text) <= 40 else text[:39] + "…"
    return "[%s, …] %d wide  %s" % (glimpse, len(vector), words)


def joined(answers: Sequence[Embeddings]) -> Dict[str, Any]:
    """Make one object of the answers to all batches: vectors in order, counts added up."""
    last = answers[-1]
    tokens_in = [answer.usage.prompt_tokens for answer in answers]
    known = [tokens for tokens in tokens_in if tokens is not None]
    return {
        "embeddings": [[short(value) for value in row] for answer in answers for row in answer],
        "model": last.model,
        "provider": last.provider,
        "dimension": last.dimension,
        "usage": {"prompt_tokens": sum(known) if len(known) == len(tokens_in) else None},
        "cost_nanousd": sum(answer.cost_nanousd or 0 for answer in answers),
        "cached": sum(answer.cached for answer in answers),
    }


def _count_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("text", nargs="*", help="the text; - or nothing: standard input")
    parser.add_argument("--messages", metavar="FILE", help="count a conversation, as JSON")
    parser.add_argument("--model", metavar="NAME", help="the model whose tokens to count")
    parser.add_argument("--json", action="store_true", help="print how it was counted, too")
    add_timeout_option(parser, None)


def run_count_tokens(args: argparse.Namespace, term: Terminal) -> int:
    if args.messages is not None:
        if args.text:
            raise UsageProblem("give either a text or --messages, not both")
        messages = parsed_json(read_file(args.messages, term), args.messages)
        parameters = {"messages": messages}
    else:
        parameters = {"text": text_from(args.text, term)}
    if args.model is not None:
        parameters["model"] = args.model
    with open_client(args, args.timeout) as client:
        result = client.call("count_tokens", parameters)
    if args.json:
        term.json(result)
        return OK
    term.line(str(result["tokens"]))
    if not result.get("exact"):
        term.note("(an estimate: %s)" % result.get("method"))
    return OK


EMBED = Command(
    "embed", "[TEXT ...]", "turn texts into vectors", _EMBED_DETAILS, _embed_arguments, run_embed
)
COUNT_TOKENS = Command(
    "count-tokens",
    "[TEXT ...]",
    "count the tokens of a text",
    _COUNT_DETAILS,
    _count_arguments,
    run_count_tokens,
)
