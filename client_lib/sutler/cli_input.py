"""What a command is asked about: words of the command line, standard input, JSON documents.

The parsing is pure; only `standard_input` and `read_file` touch a file.
"""

from __future__ import annotations

import json
import sys

from sutler.cli_exit import UsageProblem

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List

    from sutler.cli_terminal import Terminal


def standard_input(term: Terminal) -> bytes:
    """Read all of standard input; a person who types is told how to end."""
    stream = sys.stdin
    if stream is None:
        raise UsageProblem("standard input is closed; give the text as an argument")
    if stream.isatty():
        term.note("(reading from the terminal; end with Ctrl-D)")
    return stream.buffer.read()


def read_file(path: str, term: Terminal) -> bytes:
    """Read a file whole; ``-`` is standard input."""
    if path == "-":
        return standard_input(term)
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise UsageProblem("%s: %s" % (path, error.strerror)) from None


def decoded(raw: bytes, where: str) -> str:
    """Decode UTF-8 or say at which byte it is something else."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UsageProblem(
            "%s is not UTF-8 text (byte 0x%02x at offset %d); convert it first, for example "
            "with iconv" % (where, raw[error.start], error.start)
        ) from None


def sendable(text: str, where: str) -> str:
    """Give ``text`` back unless it holds bytes of the command line that were no UTF-8."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise UsageProblem("%s is not UTF-8 text" % where) from None
    return text


def text_from(words: List[str], term: Terminal) -> str:
    """Join the words of a command line; ``-``, or no word at all, is standard input.

    Standard input stands on lines of its own, so that ``- "Summarise this."`` reads well.
    Raises `UsageProblem` if nothing but white space is left.
    """
    if "-" not in words:
        text = sendable(" ".join(words), "the text") if words else ""
        if not words:
            text = decoded(standard_input(term), "standard input")
    else:
        read = decoded(standard_input(term), "standard input").strip("\n")
        at = words.index("-")
        before = sendable(" ".join(words[:at]), "the text")
        after = sendable(" ".join(word for word in words[at + 1 :] if word != "-"), "the text")
        text = "\n\n".join(part for part in (before, read, after) if part)
    if not text.strip():
        raise UsageProblem("there is no text: give it as an argument or on standard input")
    return text


def strict_json(text: str) -> Any:
    """Parse JSON without the constants that Python adds to it. Raises ValueError."""

    def refuse(name: str) -> None:
        raise ValueError("%s is not JSON" % name)

    return json.loads(text, parse_constant=refuse)


def parsed_json(raw: bytes, where: str) -> Any:
    """Parse one JSON document or say where it stops being one."""
    text = decoded(raw, where)
    if not text.strip():
        raise UsageProblem("%s is empty; messages as JSON are wanted" % where)
    try:
        return strict_json(text)
    except json.JSONDecodeError as error:
        raise UsageProblem(
            "%s is not JSON: %s at line %d, column %d"
            % (where, error.msg, error.lineno, error.colno)
        ) from None
    except ValueError as error:
        raise UsageProblem("%s: %s" % (where, error)) from None
    except RecursionError:
        raise UsageProblem("%s is nested too deeply" % where) from None


def parameters_of(value: Any, options: Dict[str, Any]) -> Dict[str, Any]:
    """Turn a prompt, a list of messages, or an object with either into a call's parameters.

    What the object says goes before ``options``. Raises ValueError saying what is wrong.
    """
    if isinstance(value, str):
        value = {"prompt": value}
    elif isinstance(value, list):
        value = {"messages": value}
    elif not isinstance(value, dict):
        raise ValueError(
            'not a string, a list of messages, or an object with "prompt" or "messages"'
        )
    if ("prompt" in value) == ("messages" in value):
        raise ValueError('an object must hold either "prompt" or "messages"')
    if not isinstance(value.get("prompt", ""), str):
        raise ValueError('"prompt" must be a string')
    if not isinstance(value.get("messages", []), list):
        raise ValueError('"messages" must be a list')
    if value.get("stream"):
        raise ValueError('"stream" is not for a document: leave it out')
    parameters = dict(options)
    parameters.update(value)
    if "messages" in value and "system" in parameters:
        parameters["messages"] = with_system(value["messages"], parameters.pop("system"))
    return parameters


def with_system(messages: List[Any], system: str) -> List[Any]:
    """Put ``system`` first, unless the messages bring a system message of their own."""
    for message in messages:
        if isinstance(message, dict) and message.get("role") == "system":
            return messages
    return [{"role": "system", "content": system}, *messages]
