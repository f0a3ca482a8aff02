"""Client processes that ask what they are told, with our library or with a vendor's own.

Each is a process of its own that reads jobs, one JSON object a line, and prints how it went.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


def ask_ours(job: dict[str, Any]) -> dict[str, int]:
    import sutler

    with sutler.Client(job["socket"]) as client:
        answers = client.map(
            ({"prompt": text, "max_tokens": most} for text, most in job["calls"]),
            return_errors=True,
            temperature=1.0,
        )
        failed = [answer for answer in answers if isinstance(answer, sutler.SutlerError)]
    for error in failed[:1]:
        print(error, file=sys.stderr)
    return {"answered": len(job["calls"]) - len(failed), "failed": len(failed)}


async def ask_with_sdk(job: dict[str, Any]) -> dict[str, int]:
    import openai

    async with openai.AsyncOpenAI(
        api_key="not-a-real-key-1234", base_url=job["base_url"], max_retries=job["retries"]
    ) as client:

        async def ask(text: str, most: int) -> bool:
            try:
                await client.chat.completions.create(
                    model="m", messages=[{"role": "user", "content": text}], max_tokens=most
                )
            except openai.OpenAIError:
                return False
            return True

        went = await asyncio.gather(*(ask(text, most) for text, most in job["calls"]))
    return {"answered": sum(went), "failed": len(went) - sum(went)}


class Crowd:
    """So many processes, which wait for jobs."""

    def __init__(self, processes: Sequence[subprocess.Popen[str]]) -> None:
        self._processes = processes

    def ask(self, jobs: Sequence[dict[str, Any]]) -> dict[str, int]:
        """Give each process a job, all at once, and wait for all; sum up how it went."""
        for process, job in zip(self._processes, jobs, strict=True):
            assert process.stdin is not None
            process.stdin.write(json.dumps(job) + "\n")
            process.stdin.flush()
        total = {"answered": 0, "failed": 0}
        for process in self._processes:
            assert process.stdout is not None
            went = json.loads(process.stdout.readline())
            total = {name: total[name] + went[name] for name in total}
        return total


@contextlib.contextmanager
def crowd(count: int) -> Iterator[Crowd]:
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.support.crowd_of_clients"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        for _ in range(count)
    ]
    try:
        yield Crowd(processes)
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def main() -> None:
    for line in sys.stdin:
        job = json.loads(line)
        went = asyncio.run(ask_with_sdk(job)) if "base_url" in job else ask_ours(job)
        print(json.dumps(went), flush=True)


if __name__ == "__main__":
    main()
