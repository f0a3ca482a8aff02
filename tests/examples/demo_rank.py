"""One MPI rank of the demo: it asks, streams, embeds, prints, and tells what it got.

    mpiexec -n 8 python demo_rank.py rows.json

Everything a rank needs is ``import sutler``; where the daemon listens is in SUTLER_SOCKET.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from demo_report import Row
from mpi4py import MPI

from sutler import Client

WORLD = MPI.COMM_WORLD
RANK = WORLD.Get_rank()

#: Every rank asks these; one of them, or an earlier run, pays for all.
SHARED = (
    "Name the capital of France.",
    "Name three noble gases.",
    "Write one sentence about a night train.",
)
TOPICS = ("rivers", "bridges", "maps", "bees", "clocks", "snow", "salt", "harbours")
TEXT = "A sutler followed an army and supplied every rank from one wagon."
OPTIONS = {"max_tokens": 24, "temperature": 0}


def own_questions() -> tuple[str, str]:
    topic = TOPICS[RANK % len(TOPICS)]
    return (
        f"Write one short sentence about {topic} for rank {RANK}.",
        f"What is {RANK + 2} plus {RANK + 3}?",
    )


def wait_for_all() -> None:
    """Be a barrier that leaves the processor to the model instead of spinning on it."""
    request = WORLD.Ibarrier()
    while not request.Test():
        time.sleep(0.01)


def one_line(text: str) -> str:
    return " ".join(text.split())


def ask(client: Client) -> tuple[list[str], Row]:
    """Ask five questions, the last shared one as a stream, and embed a text.

    Gives the lines to print and this rank's account. A stream's stored answer is replayed whole.
    """
    started_s = time.monotonic()
    questions = (*SHARED, *own_questions())
    replies = [client.complete(question, **OPTIONS) for question in SHARED[:-1]]
    stream = client.stream(SHARED[-1], **OPTIONS)
    pieces = sum(1 for _ in stream)
    replies.append(stream.result)
    replies += [client.complete(question, **OPTIONS) for question in own_questions()]
    vectors = client.embed([TEXT])

    pairs = list(zip(questions, replies, strict=True))
    lines = [f"  {question} → {one_line(reply.content)}" for question, reply in pairs]
    lines[len(SHARED) - 1] += f"   (streamed, {pieces} piece{'s' * (pieces > 1)})"
    lines.append(f"  a vector of {vectors.dimension} numbers from {vectors.model}")
    paid = [question for question, reply in pairs if not reply.cached and not reply.coalesced]
    # Usage counts what a call for vectors bought: nothing, if it joined another rank's.
    if vectors.usage.total_tokens:
        paid.append(TEXT)
    asked = [*questions, TEXT]
    cached = sum(reply.cached for reply in replies) + vectors.cached
    return lines, Row(
        rank=RANK,
        asked=asked,
        paid=paid,
        cached=cached,
        coalesced=len(asked) - len(paid) - cached,
        tokens=sum(reply.usage.total_tokens or 0 for reply in replies),
        time_s=time.monotonic() - started_s,
    )


def main() -> None:
    wait_for_all()
    with Client(labels={"component": "demo", "rank": str(RANK)}) as client:
        lines, row = ask(client)
    # One write, so that what several ranks say at once does not run together.
    sys.stdout.write("\n".join([f"rank {RANK}", *lines, ""]))
    sys.stdout.flush()
    wait_for_all()
    rows = WORLD.gather(row)
    if rows is not None:
        Path(sys.argv[1]).write_text(json.dumps(rows))


if __name__ == "__main__":
    main()
