"""``sutler chat`` and ``sutler complete``: one question, one answer.

On a terminal the answer is streamed as it is made; into a pipe it goes whole, once it is
there, so that a program never reads half an answer as a whole one.
"""

from __future__ import annotations

from sutler.calls import COMPLETE_OPTIONS
from sutler.cli_command import Command, open_client
from sutler.cli_exit import OK, CommandFailed, UsageProblem
from sutler.cli_input import parameters_of, parsed_json, read_file, sendable, strict_json, text_from
from sutler.cli_options import add_call_options, call_parameters
from sutler.cli_tables import cell, dollars

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any, Dict

    from sutler.cli_terminal import Terminal
    from sutler.client import Client

_STREAMED = COMPLETE_OPTIONS | {"prompt", "messages"}

_CHAT_DETAILS = """\
examples:
  sutler chat "What is the capital of France?"
  sutler chat --system "You are terse." --temperature 0 "Why is the sky blue?"
  git diff | sutler chat - "Write a commit message for this."
  sutler chat --json "2 + 2?" | jq .usage
  sutler chat --schema city.json "The largest city of Japan, as JSON."
"""

_COMPLETE_DETAILS = """\
The document is a list of messages, or an object with "messages" or "prompt" and any other
parameters of a call; what it says goes before the options of the command line.

examples:
  echo '[{"role": "user", "content": "Hi"}]' | sutler complete
  sutler complete conversation.json --max-tokens 200 --json
  sutler complete --prompt "Once upon a time"
"""


def _output_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--json", action="store_true", help="print the whole reply: usage, cost, cached, trace…"
    )
    parser.add_argument(
        "--no-stream", action="store_true", help="print the answer once it is whole"
    )
    parser.add_argument(
        "-v", "--verbose", action="store_true", help="say on stderr who answered at what cost"
    )


def _chat_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "text", nargs="*", help="the message; - or nothing: read it from standard input"
    )
    _output_arguments(parser)
    add_call_options(parser)


def _complete_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "file", nargs="?", metavar="FILE", help="messages as JSON; - or nothing: standard input"
    )
    parser.add_argument("--prompt", metavar="TEXT", help="a text to answer, instead of messages")
    _output_arguments(parser)
    add_call_options(parser)


def run_chat(args: argparse.Namespace, term: Terminal) -> int:
    parameters = call_parameters(args)
    parameters["prompt"] = text_from(args.text, term)
    return _answer(args, term, parameters)


def run_complete(args: argparse.Namespace, term: Terminal) -> int:
    options = call_parameters(args)
    if args.prompt is not None:
        if args.file is not None:
            raise UsageProblem("give either a FILE or --prompt, not both")
        document: Any = sendable(args.prompt, "--prompt")
        where = "--prompt"
    else:
        path = args.file or "-"
        where = "standard input" if path == "-" else path
        document = parsed_json(read_file(path, term), where)
    try:
        parameters = parameters_of(document, options)
    except ValueError as error:
        raise UsageProblem("%s: %s" % (where, error)) from None
    return _answer(args, term, parameters)


def _answer(args: argparse.Namespace, term: Terminal, parameters: Dict[str, Any]) -> int:
    """Ask, print, and say what is worth knowing about the reply."""
    whole = args.json or args.no_stream or not term.out_is_terminal or not _streams(parameters)
    with open_client(args, args.timeout) as client:
        reply = _ask(client, parameters) if whole else _stream(client, term, parameters)
    if args.json:
        term.json(reply)
    elif "schema" in parameters:
        term.json(json_value(reply))
    elif whole:
        term.line(reply["content"])
    remark(args, term, reply)
    return OK


def json_value(reply: Dict[str, Any]) -> Any:
    """Give the JSON value of an answer to a schema, so that a script never gets half of one."""
    if reply.get("parsed") is not None:
        return reply["parsed"]
    try:
        return strict_json(reply.get("content") or "")
    except (ValueError, RecursionError):
        cut = reply.get("finish_reason") == "length"
        mend = "it was cut off, --max-tokens N allows more" if cut else "--json shows it"
        raise CommandFailed("the answer is not JSON: %s" % mend) from None


def _streams(parameters: Dict[str, Any]) -> bool:
    """Say whether an answer to this is worth seeing before it is whole.

    What only the daemon can judge, such as a misspelt name, is asked for plainly.
    """
    return "schema" not in parameters and parameters.keys() <= _STREAMED


def _ask(client: Client, parameters: Dict[str, Any]) -> Dict[str, Any]:
    reply: Dict[str, Any] = client.call("complete", parameters)
    return reply


def _stream(client: Client, term: Terminal, parameters: Dict[str, Any]) -> Dict[str, Any]:
    """Print the chunks as they come; the line is ended whatever ends the stream."""
    options = dict(parameters)
    asked = options.pop("messages" if "messages" in options else "prompt")
    written = ""
    stream = client.stream(asked, **options)
    try:
        for chunk in stream:
            if chunk.content:
                written = chunk.content
                term.write(written)
    finally:
        if written and not written.endswith("\n"):
            term.line()
    return stream.result.to_dict()


def remark(args: argparse.Namespace, term: Terminal, reply: Dict[str, Any]) -> None:
    if reply.get("tool_calls") and not args.json:
        term.note("(the model calls functions; --json shows them)")
    if reply.get("finish_reason") == "length" and not args.json:
        term.note("(cut off at its token limit; --max-tokens N allows more)")
    if args.verbose:
        term.say(summary(reply))


def summary(reply: Dict[str, Any]) -> str:
    """Say in one line who answered, with how many tokens, at what cost and how fast."""
    usage = reply.get("usage") or {}
    parts = [
        "%s/%s" % (reply.get("provider"), reply.get("model")),
        "%s + %s tokens"
        % (cell("", usage.get("prompt_tokens")), cell("", usage.get("completion_tokens"))),
        "price unknown" if reply.get("cost_nanousd") is None else dollars(reply["cost_nanousd"]),
        cell("latency_ms", reply.get("latency_ms")),
    ]
    parts += [word for word in ("cached", "coalesced") if reply.get(word)]
    return "sutler: " + " · ".join(parts)


CHAT = Command(
    "chat", "[TEXT ...]", "ask something, in words", _CHAT_DETAILS, _chat_arguments, run_chat
)
COMPLETE = Command(
    "complete",
    "[FILE]",
    "ask with messages as JSON",
    _COMPLETE_DETAILS,
    _complete_arguments,
    run_complete,
)
