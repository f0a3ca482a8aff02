"""``sutler prompts``: the templates that the daemon serves, and what is wrong with one's own."""

from __future__ import annotations

import argparse

from sutler.cli_chat import json_value, remark
from sutler.cli_command import Command, open_client
from sutler.cli_exit import FAILED, OK, UsageProblem
from sutler.cli_input import decoded, read_file, sendable, strict_json
from sutler.cli_options import QUICK_S, add_call_options, call_parameters
from sutler.cli_tables import table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, List

    from sutler.cli_terminal import Terminal
    from sutler.client import Client

_DETAILS = """\
  list                 the templates and their versions
  show NAME            one template whole: its texts, variables, schema and defaults
  render NAME VAR ...  the messages that it becomes
  run NAME VAR ...     the answer; JSON if the template has a schema
  check [FILE ...]     what is wrong with the daemon's prompt files, or with
                       files that you are about to give it; exits with 1 if anything is

NAME is a template, NAME@1 its newest version 1.x. A variable is given as
name=text, name:=JSON, name=@FILE or name:=@FILE (- is standard input).

examples:
  sutler prompts run plan_generation goal="Paint the shed" 'available_tools:=["brush"]'
  sutler prompts render memory_summary@1 'texts:=@notes.json'
  sutler prompts check my_prompts.yaml
"""


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", choices=tuple(_DOES), help="what to do")
    parser.add_argument("words", nargs="*", metavar="WORD", help="a template, variables, files")
    parser.add_argument("--json", action="store_true", help="print the daemon's whole answer")
    parser.add_argument("-v", "--verbose", action="store_true", help="tell tokens, cost and time")
    add_call_options(parser, system=False)


def run_prompts(args: argparse.Namespace, term: Terminal) -> int:
    if args.what in ("show", "render", "run") and not args.words:
        raise UsageProblem("name a template: sutler prompts %s NAME" % args.what)
    if args.what == "list" and args.words:
        raise UsageProblem("sutler prompts list takes no words; show NAME tells of one")
    if args.what == "show" and len(args.words) > 1:
        raise UsageProblem("sutler prompts show takes one template")
    timeout_s = args.timeout if args.what == "run" else args.timeout or QUICK_S
    with open_client(args, timeout_s) as client:
        return _DOES[args.what](args, term, client)


def _list(args: argparse.Namespace, term: Terminal, client: Client) -> int:
    result = client.call("prompts.list")
    if args.json:
        term.json(result)
        return OK
    rows = [
        {
            "name": row["name"],
            "version": row["version"],
            "variables": ", ".join(_shown_variable(each) for each in row["variables"]),
            "description": row["description"],
            "deprecated": row["deprecated"],
        }
        for row in result["templates"]
    ]
    if not rows:
        term.say("sutler: there are no templates; sutler prompts check says what is wrong")
        return OK
    lines = table(rows)
    term.raw_line(term.styled(lines[0], "bold"))
    for line in lines[1:]:
        term.line(line)
    return OK


def _shown_variable(variable: Dict[str, Any]) -> str:
    name: str = variable["name"]
    return name if variable["required"] else "[%s]" % name


def _show(args: argparse.Namespace, term: Terminal, client: Client) -> int:
    asked = {"name": sendable(args.words[0], "the name"), "full": True}
    (template,) = client.call("prompts.list", asked)["templates"]
    if args.json:
        term.json(template)
        return OK
    term.raw_line(term.styled("%(name)s@%(version)s" % template, "bold"))
    if template["description"]:
        term.line(template["description"])
    for name in ("hash", "deprecated", "defaults", "metadata", "schema"):
        if template[name]:
            term.line("%s: %s" % (name, _compact(template[name])))
    for variable in template["variables"]:
        default = "" if variable["required"] else "(else %s)" % _compact(variable["default"])
        words = [_shown_variable(variable), variable["description"], default]
        term.line("  " + "  ".join(word for word in words if word))
    messages = [("system", template["system"])]
    for example in template["examples"]:
        messages += [("user", example["user"]), ("assistant", example["assistant"])]
    _print_messages(term, [*messages, ("user", template["user"])])
    return OK


def _render(args: argparse.Namespace, term: Terminal, client: Client) -> int:
    rendered = client.call("prompts.render", _asked(args, term))
    if args.json:
        term.json(rendered)
    else:
        messages = rendered["messages"]
        _print_messages(term, [(each["role"], each["content"]) for each in messages])
    return OK


def _run(args: argparse.Namespace, term: Terminal, client: Client) -> int:
    parameters = dict(call_parameters(args), **_asked(args, term))
    reply = client.call("prompts.run", parameters)
    if args.json:
        term.json(reply)
    elif reply.get("parsed") is not None or "schema" in parameters:
        term.json(json_value(reply))
    else:
        term.line(reply["content"])
    remark(args, term, reply)
    return OK


def _check(args: argparse.Namespace, term: Terminal, client: Client) -> int:
    results = []
    for path in args.words or [None]:
        asked: Dict[str, Any] = {}
        if path is not None:
            asked["text"] = decoded(read_file(path, term), path)
            asked["source"] = sendable(path, "the file's name")[-256:]
        results.append(client.call("prompts.check", asked))
    problems = [problem for result in results for problem in result["problems"]]
    templates = [name for result in results for name in result["templates"]]
    if args.json:
        term.json({"templates": templates, "problems": problems})
    else:
        for problem in problems:
            term.line(problem)
        if not problems:
            term.line("%d templates, nothing wrong" % len(templates))
    return FAILED if problems else OK


def _print_messages(term: Terminal, messages: List[Any]) -> None:
    for role, text in messages:
        if text is not None:
            term.raw_line(term.styled("-- %s" % role, "bold"))
            term.line(text.rstrip("\n"))


def _compact(value: Any) -> str:
    from json import dumps

    return value if isinstance(value, str) and value else dumps(value, ensure_ascii=False)


def _asked(args: argparse.Namespace, term: Terminal) -> Dict[str, Any]:
    """Read the template's name and the variables from the words of the command line."""
    name, variables = sendable(args.words[0], "the name"), {}
    for word in args.words[1:]:
        key, value = _variable(sendable(word, "a variable"), term)
        if key in variables:
            raise UsageProblem("%s is given twice" % key)
        variables[key] = value
    return {"name": name, "variables": variables}


def _variable(word: str, term: Terminal) -> Any:
    key, equals, text = word.partition("=")
    as_json = key.endswith(":")
    key = key[:-1] if as_json else key
    if not equals or not key:
        raise UsageProblem("%r is no variable: write name=text or name:=JSON" % word)
    where = key
    if text.startswith("@"):
        where = text[1:]
        text = decoded(read_file(where, term), where)
    if not as_json:
        return key, text
    try:
        return key, strict_json(text)
    except (ValueError, RecursionError) as error:
        raise UsageProblem("%s is not JSON: %s" % (where, error)) from None


_DOES: Dict[str, Callable[[argparse.Namespace, Terminal, Client], int]] = {
    "list": _list,
    "show": _show,
    "render": _render,
    "run": _run,
    "check": _check,
}

PROMPTS = Command(
    "prompts",
    "list|show|render|run|check [WORD ...]",
    "see and run the daemon's prompt templates",
    _DETAILS,
    _arguments,
    run_prompts,
)
