"""A planner, a reviewer, a memory and a safety gate work one goal through, each a process.

    sutlerd &
    python tests/examples/cognition.py

They share the daemon that SUTLER_SOCKET names, or the first that is found: its model, its cache,
its account. What they agree on is printed; nothing of it depends on the time of day or on who was
quicker, so another run, or a replay of a recorded one, prints the same.
"""

from __future__ import annotations

import multiprocessing
import sys
from contextlib import ExitStack
from multiprocessing.connection import Connection
from typing import Any

from sutler import Client, SutlerError
from sutler.components import Memory, Metacognition, Planner, SafetyGate

GOAL = "Dry the flooded cellar"
TOOLS = ["pump", "torch", "phone"]
NOTES = [
    "The cellar was flooded by last night's rain.",
    "The power in the house is off.",
    "The neighbour lends a pump that runs on petrol.",
    "The garden shed was painted green in May.",
]
#: The embedded model runs on one or two cores: its gate needs longer than a real one may.
GATE_TIMEOUT_S = 60.0
REMEMBERED = 3
STEPS_JUDGED = 3


def make(role: str) -> Any:
    client = Client(labels={"project": "cellar"})
    if role == "planner":
        return Planner(client)
    if role == "reviewer":
        return Metacognition(client)
    if role == "memory":
        return Memory(client)
    return SafetyGate(client, timeout_s=GATE_TIMEOUT_S)


def serve(role: str, pipe: Connection) -> None:
    """Be one component: take a method and its arguments, give what came of it."""
    component = make(role)
    while True:
        try:
            method, arguments = pipe.recv()
        except EOFError:
            return
        try:
            pipe.send(getattr(component, method)(*arguments))
        except SutlerError as error:
            pipe.send(error)


class Part:
    """A component in a process of its own; its methods are called here and run there."""

    def __init__(self, role: str) -> None:
        processes = multiprocessing.get_context("spawn")
        self._pipe, theirs = processes.Pipe()
        self._process = processes.Process(target=serve, args=(role, theirs), name=role)
        self._process.start()
        theirs.close()

    def __enter__(self) -> Part:
        return self

    def __exit__(self, *_: object) -> None:
        self._pipe.close()
        self._process.join()

    def ask(self, method: str, *arguments: Any) -> Any:
        self._pipe.send((method, arguments))
        answer = self._pipe.recv()
        if isinstance(answer, SutlerError):
            raise answer
        return answer


def nearest(memory: Part, goal: str) -> list[str]:
    """Remember the notes that have most to do with the goal."""
    wanted = memory.ask("embed_query", goal)
    rows = memory.ask("embed", NOTES)

    def likeness(place: int) -> float:
        row = rows[place]
        size = sum(a * a for a in row) ** 0.5 * sum(b * b for b in wanted) ** 0.5
        return sum(a * b for a, b in zip(row, wanted, strict=True)) / size

    places = sorted(range(len(NOTES)), key=likeness, reverse=True)[:REMEMBERED]
    return [NOTES[place] for place in sorted(places)]


def steps_of(plan: dict[str, Any]) -> list[str]:
    """Give the different steps in their order."""
    steps = [step["action"] for subgoal in plan["subgoals"] for step in subgoal["steps"]]
    return list(dict.fromkeys(steps))


def work(goal: str) -> None:
    with ExitStack() as stack:
        planner, reviewer, memory, gate = (
            stack.enter_context(Part(role)) for role in ("planner", "reviewer", "memory", "gate")
        )
        print(f"goal: {goal}")
        known = nearest(memory, goal)
        for note in known:
            print(f"memory: {note}")
        plan = planner.ask("generate_plan", goal, " ".join(known), None, TOOLS)
        review = reviewer.ask("critique_plan", plan, " ".join(known))
        print(f"reviewer: {review['decision']}, confidence {review['confidence']}")
        if review["decision"] == "REVISE" and review["issues"]:
            plan = planner.ask("refine_plan", plan, review["issues"])
        happened = []
        for number, step in enumerate(steps_of(plan)[:STEPS_JUDGED], 1):
            verdict = gate.ask("evaluate", step, f"It serves the goal: {goal}")
            print(f"step {number}: {step}")
            print(f"gate: {verdict.decision}: {verdict.reasons[0]}")
            # Only a verdict that allows is true; what was not judged, or not allowed, is not done.
            happened.append(f"{'Done' if verdict else verdict.decision}: {step}")
        summary = memory.ask("summarize", [f"The goal: {goal}", *happened])
        print(f"memory: {summary['summary']}")


def account() -> None:
    """Show what each component asked of the daemon."""
    with Client() as client:
        rows = client.call("usage", {"by": ["component", "project"]})["rows"]
    for row in sorted(rows, key=lambda row: str(row["component"])):
        if row["project"] == "cellar":
            print(f"{row['component']}: {row['calls']} calls", file=sys.stderr)


def main() -> None:
    try:
        work(" ".join(sys.argv[1:]) or GOAL)
    except SutlerError as error:
        sys.exit(f"{type(error).__name__}: {error}")
    account()


if __name__ == "__main__":
    main()
