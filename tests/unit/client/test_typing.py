"""What type checkers make of a user's program."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[3]

USER = """
    import asyncio
    from typing import Dict, List, Union

    import sutler
    from sutler import (
        AsyncClient, Chunk, Client, Completion, FunctionDefinition, Message, Role, Stream,
        SutlerError,
    )
    from sutler.testing import Chunks, FakeDaemon

    def ask(client: Client) -> str:
        reply: Completion = client.complete("x", temperature=0.2, stop=["a"], cache="on")
        whole = [Message(Role.USER, "y"), Message.system("s")]
        client.complete(whole)
        client.complete([{"role": "user", "content": "z"}])
        more = client.complete(
            [Message.user("y"), {"role": "user", "content": "z"}],
            functions=[FunctionDefinition("f"), {"name": "g"}],
        )
        tokens: int = client.count_tokens("x").tokens
        row: float = client.embed(["x"]).rows[0][0]
        replies: List[Completion] = list(client.map(["a", "b"], max_in_flight=2))
        mixed: List[Union[Completion, SutlerError]] = list(
            client.map(["a"], return_errors=True, lane="background")
        )
        prompt_tokens = more.usage.prompt_tokens
        if prompt_tokens is not None:
            tokens += prompt_tokens
        schema: Dict[str, object] = {"type": "object"}
        client.json("x", schema, model="m")
        return reply.content + client.chat("a", "b", seed=1) + str(tokens + row)

    def follow(client: Client) -> Completion:
        stream: Stream = client.stream("x", labels={"component": "planner"})
        with stream:
            for chunk in stream:
                part: str = chunk.content
                last: Chunk = chunk
        return stream.result

    async def together(client: AsyncClient) -> str:
        async with client.stream("x") as stream:
            async for chunk in stream:
                print(chunk.content)
        async for reply in client.map(["a"]):
            print(reply.content)
        return (await client.complete("x")).content + stream.result.content

    def careful(client: Client) -> float:
        try:
            client.ping(timeout_s=1.0)
        except sutler.RateLimited as error:
            return error.retry_after_s or 0.0
        except sutler.DaemonUnavailable as error:
            return float(len(error.tried))
        return 0.0

    with FakeDaemon() as daemon, Client(daemon.socket_path) as client:
        daemon.reply("complete", Chunks("a"))
        ask(client)
"""

WRONG = {
    "client.complete('x', temprature=0)": "Unexpected keyword argument",
    "client.complete('x', temperature='hot')": "incompatible type",
    "client.chat(5)": "incompatible type",
    "client.complete('x').contnet": "has no attribute",
    "client.embed(['x'], temperature=0)": "Unexpected keyword argument",
}


def mypy(program: str, folder: Path) -> tuple[int, str]:
    (folder / "user.py").write_text(program)
    told = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file=", "user.py"],
        cwd=folder,
        env={"PATH": "/usr/bin:/bin", "MYPYPATH": str(CHECKOUT / "client_lib")},
        capture_output=True,
        text=True,
        check=False,
    )
    return told.returncode, told.stdout


@pytest.mark.timeout(180)
def test_a_users_program_passes_strict_checks_and_its_mistakes_are_found(tmp_path: Path) -> None:
    code, said = mypy(textwrap.dedent(USER), tmp_path)
    assert code == 0, said
    lines = [f"    {wrong}" for wrong in WRONG]
    code, said = mypy(
        "from sutler import Client\ndef f(client: Client) -> None:\n" + "\n".join(lines), tmp_path
    )
    assert code == 1
    for number, (wrong, complaint) in enumerate(WRONG.items(), 3):
        assert any(
            line.startswith(f"user.py:{number}:") and complaint in line
            for line in said.splitlines()
        ), (wrong, said)
