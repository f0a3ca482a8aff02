"""``python -m tests.bench [NAME …]``: measure, and print each figure beside its floor."""

from __future__ import annotations

import importlib
import os
import platform
import sys
import tempfile
from pathlib import Path

from tests.bench.parts import print_rows

BENCHES = {
    "hits": "tests.bench.bench_hits",
    "start": "tests.bench.bench_start",
    "uncached": "tests.bench.bench_uncached",
    "stream": "tests.bench.bench_stream",
    "cache": "tests.bench.bench_cache",
    "quota": "tests.bench.bench_quota",
    "ledger": "tests.bench.bench_ledger",
    "http": "tests.bench.bench_http",
    "seeing": "tests.bench.bench_seeing",
}


def main(names: list[str]) -> int:
    unknown = set(names) - BENCHES.keys()
    if unknown:
        print(f"no such benchmark: {', '.join(sorted(unknown))}; there are {', '.join(BENCHES)}")
        return 2
    print(f"{os.cpu_count()} cores, Python {platform.python_version()}, Linux {platform.release()}")
    for name in names or BENCHES:
        bench = importlib.import_module(BENCHES[name])
        # Short, because a socket's path is: at most 107 bytes.
        with tempfile.TemporaryDirectory(prefix="sb-") as folder:
            print_rows(name, bench.run(Path(folder)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
