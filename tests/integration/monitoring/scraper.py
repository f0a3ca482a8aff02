"""A process that scrapes so many times a second: ``python scraper.py SOCKET RATE``, until killed.

Prints how many scrapes were answered when its input ends.
"""

from __future__ import annotations

import socket
import sys
import threading
import time

REQUEST = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"
#: Scrapes in one go: a sleep for each would be coarser than the rate.
TOGETHER = 10


def main(path: str, per_s: float) -> None:
    over = threading.Event()

    def wait_for_the_end() -> None:
        sys.stdin.read()
        over.set()

    threading.Thread(target=wait_for_the_end, daemon=True).start()
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(path)
        answered, next_s = 0, time.monotonic()
        stream = sock.makefile("rb")
        while not over.is_set():
            sock.sendall(REQUEST * TOGETHER)
            for _ in range(TOGETHER):
                length = 0
                while (line := stream.readline()) != b"\r\n":
                    name, _, value = line.partition(b":")
                    if name.lower() == b"content-length":
                        length = int(value)
                assert length and len(stream.read(length)) == length
                answered += 1
            next_s = max(next_s + TOGETHER / per_s, time.monotonic() - 0.1)
            time.sleep(max(0.0, next_s - time.monotonic()))
    print(answered, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
