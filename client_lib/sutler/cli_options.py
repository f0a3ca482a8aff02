"""The options that calls share, and how they become the parameters of a call.

One table names every option once. Nothing here reads a standard stream or connects.
"""

from __future__ import annotations

import argparse
import json
import math

from sutler import wire
from sutler.cli_exit import UsageProblem

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, List, Optional, Union

#: What a daemon knows of itself it says at once; one that does not is stuck, and the person
#: wants to know.
QUICK_S = 10.0


def at_least(least: int, text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError("%r is not a whole number" % text) from None
    if value < least:
        raise argparse.ArgumentTypeError("%d is too small, the least is %d" % (value, least))
    return value


def count(text: str) -> int:
    """Read an integer of at least 1."""
    return at_least(1, text)


def whole(text: str) -> int:
    """Read an integer of at least 0."""
    return at_least(0, text)


def at_most(most: int) -> Callable[[str], int]:
    """Make a reader of integers from 1 to ``most``."""

    def read(text: str) -> int:
        value = count(text)
        if value > most:
            raise argparse.ArgumentTypeError("%d is too large, the most is %d" % (value, most))
        return value

    return read


def number(text: str) -> float:
    """Read a finite number of at least 0."""
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError("%r is not a number" % text) from None
    if not math.isfinite(value) or value < 0:
        raise argparse.ArgumentTypeError("%r must be a finite number of at least 0" % text)
    return value


def seconds(text: str) -> float:
    """Read a time limit: a finite number above 0."""
    value = number(text)
    if value == 0:
        raise argparse.ArgumentTypeError("a time limit of 0 seconds leaves no time at all")
    return value


def label(text: str) -> List[str]:
    """Read ``NAME=VALUE`` into its two parts."""
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise argparse.ArgumentTypeError("%r is not NAME=VALUE" % text)
    return [name, value]


def fallback(text: str) -> Union[bool, List[str]]:
    """Read ``on``, ``off`` or routes with commas between them."""
    if text in ("on", "off"):
        return text == "on"
    return [route for route in text.split(",") if route]


#: option, name on the wire, type, placeholder, choices, what it does
_OPTIONS: Any = (
    ("--model", "model", str, "NAME", None, "a model, an alias, or provider/model"),
    ("--provider", "provider", str, "NAME", None, "a provider of the daemon's configuration"),
    ("--temperature", "temperature", number, "T", None, "0 is the most repeatable"),
    ("--top-p", "top_p", number, "P", None, "sample from the likeliest share P"),
    ("--max-tokens", "max_tokens", count, "N", None, "end the answer after N tokens"),
    ("--seed", "seed", int, "N", None, "for models that take one"),
    ("--sample", "sample", whole, "N", None, "the N-th independent answer to this prompt"),
    ("--cache", "cache", str, "MODE", wire.CACHE_MODES, "on, off, read_only, write_only, only"),
    ("--cache-ttl", "cache_ttl_s", seconds, "S", None, "keep the answer for S seconds"),
    ("--lane", "lane", str, "LANE", wire.LANES, "interactive, normal or background"),
    ("--fallback", "fallback", fallback, "HOW", None, "on, off, or routes: groq,ollama/llama3"),
)


def add_call_options(parser: argparse.ArgumentParser, *, system: bool = True) -> None:
    """Add what all commands that a model answers have in common."""
    group = parser.add_argument_group("the call")
    if system:
        group.add_argument("--system", metavar="TEXT", help="what the model should be or do")
    for option, name, kind, metavar, choices, help_text in _OPTIONS:
        group.add_argument(
            option, dest=name, type=kind, metavar=metavar, choices=choices, help=help_text
        )
    group.add_argument(
        "--stop", action="append", metavar="TEXT", help="end the answer before TEXT (repeatable)"
    )
    group.add_argument("--schema", metavar="FILE", help="a JSON Schema that the answer must fit")
    add_label_option(group)
    add_timeout_option(group, None)


def add_label_option(parser: Any) -> None:
    parser.add_argument(
        "--label",
        action="append",
        type=label,
        metavar="NAME=VALUE",
        help="component=, project=, rank=… for usage reports (repeatable)",
    )


def add_timeout_option(
    parser: Any,
    default_s: Optional[float],
    what: str = "give up after S seconds, waiting included",
) -> None:
    said = "" if default_s is None else " (%g)" % default_s
    parser.add_argument("--timeout", type=seconds, metavar="S", default=default_s, help=what + said)


def call_parameters(args: argparse.Namespace) -> Dict[str, Any]:
    """Collect what `add_call_options` added, under the names of the wire; unset is left out.

    Labels and the time limit are not among them: the client that is opened carries those.
    Raises `UsageProblem` if the schema's file cannot be used.
    """
    given = {name: getattr(args, name) for _, name, _, _, _, _ in _OPTIONS}
    given["system"] = getattr(args, "system", None)
    given["stop"] = args.stop
    if args.schema is not None:
        given["schema"] = read_schema(args.schema)
    return {name: value for name, value in given.items() if value is not None}


def read_schema(path: str) -> Dict[str, Any]:
    try:
        with open(path, "rb") as file:
            schema = json.loads(file.read().decode("utf-8"))
    except OSError as error:
        raise UsageProblem("--schema %s: %s" % (path, error.strerror)) from None
    except (ValueError, RecursionError) as error:
        raise UsageProblem("--schema %s is not JSON: %s" % (path, error)) from None
    if not isinstance(schema, dict):
        raise UsageProblem("--schema %s must hold a JSON object" % path)
    return schema
