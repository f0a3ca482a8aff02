"""Run in the node, as a user: many clients that ask in a loop until a file is there.

Arguments: how many clients, and the file. Says as JSON how many answers there were, and what
went wrong, by kind.
"""

from __future__ import annotations

import asyncio
import collections
import json
import os
import sys

from sutler import AsyncClient, SutlerError


async def ask(name: int, end: str, seen: collections.Counter[str]) -> None:
    async with AsyncClient("/run/sutler/sutler.sock") as client:
        number = 0
        while not os.path.exists(end):
            number += 1
            prompt = f"client {name} question {number} end"
            try:
                reply = await client.complete(
                    [{"role": "user", "content": prompt}],
                    cache="off",
                    request_id=f"{os.path.basename(end)}-{name}-{number}",
                )
            except SutlerError as error:
                seen[error.type] += 1
                sys.stderr.write(f"{type(error).__name__}: {error}\n")
            else:
                seen["ok" if reply.content == f"to: {prompt}" else "wrong"] += 1


async def main() -> None:
    count, end = int(sys.argv[1]), sys.argv[2]
    seen: collections.Counter[str] = collections.Counter()
    await asyncio.gather(*(ask(name, end, seen) for name in range(count)))
    print(json.dumps(seen))


asyncio.run(main())
