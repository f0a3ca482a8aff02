"""A process that spends: ``python spender.py SOCKET SEED CALLS`` prints what its calls cost."""

from __future__ import annotations

import random
import sys

import sutler

MOST_TOKENS = 9_000


def main(socket: str, seed: int, calls: int) -> None:
    chance = random.Random(seed)
    spent = refused = 0
    with sutler.Client(socket) as client:
        for number in range(calls):
            most = int(MOST_TOKENS ** chance.random())
            try:
                reply = client.complete(f"{seed}/{number}", max_tokens=most, cache="off")
            except sutler.BudgetExceeded:
                refused += 1
            else:
                spent += reply.cost_nanousd or 0
    print(spent, refused)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
