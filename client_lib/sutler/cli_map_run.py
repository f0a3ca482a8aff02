"""One run of ``sutler map``: rows to the client, outcomes in order, a word on how far it is."""

from __future__ import annotations

import threading
import time
from collections import deque

from sutler.cli_map_rows import error_value, problem_value, written_line
from sutler.errors import DaemonUnavailable, ShuttingDown, SutlerError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Deque, Dict, Iterator, List, Tuple

    from sutler.cli_map_output import OutputFile
    from sutler.cli_map_rows import Row
    from sutler.cli_progress import Progress
    from sutler.cli_terminal import Terminal
    from sutler.client import Client

#: No row's fault: the rest would fare no better, and all of it can be asked again later.
_ENDS_THE_RUN = (DaemonUnavailable, ShuttingDown)

LIVE_EVERY_S = 0.2
LINE_EVERY_S = 10.0


class Run:
    """Asks rows with at most ``in_flight`` calls at once and counts what becomes of them."""

    def __init__(self, client: Client, progress: Progress, in_flight: int) -> None:
        self._client = client
        self._progress = progress
        self._in_flight = in_flight

    def append(self, output: OutputFile, rows: Iterator[Row]) -> None:
        """Write each row as soon as all rows before it are written."""
        for row, kind, value in self._outcomes(rows):
            output.append(written_line(row, kind, value))
            self._count(kind, value)

    def replace(self, output: OutputFile, rows: List[Row]) -> None:
        """Ask ``rows`` again; the new lines take the place of the old, even if interrupted."""
        lines: Dict[int, bytes] = {}
        try:
            for row, kind, value in self._outcomes(iter(rows)):
                lines[row.index] = written_line(row, kind, value)
                self._count(kind, value)
        finally:
            output.replace(lines)

    def _outcomes(self, rows: Iterator[Row]) -> Iterator[Tuple[Row, str, Dict[str, Any]]]:
        """Give every row with ``result`` and its reply, or ``error`` and what it was, in order."""
        waiting: Deque[Row] = deque()

        def asked() -> Iterator[Dict[str, Any]]:
            for row in rows:
                waiting.append(row)
                if row.problem is None:
                    yield row.parameters

        for answer in self._client.map(asked(), max_in_flight=self._in_flight, return_errors=True):
            while waiting[0].problem is not None:
                yield _problem(waiting.popleft())
            if isinstance(answer, _ENDS_THE_RUN):
                raise answer
            row = waiting.popleft()
            if isinstance(answer, SutlerError):
                yield row, "error", error_value(answer)
            else:
                yield row, "result", answer.to_dict()
        while waiting:
            yield _problem(waiting.popleft())

    def _count(self, kind: str, value: Dict[str, Any]) -> None:
        if kind == "result":
            self._progress.add_reply(value)
        else:
            self._progress.add_failure()


def _problem(row: Row) -> Tuple[Row, str, Dict[str, Any]]:
    return row, "error", problem_value(str(row.problem))


class Reporter:
    """Shows a `Progress` while entered: a line that changes on a terminal, else one every 10 s.

    From a thread of its own, because the run waits in the client for its next answer.
    """

    def __init__(self, term: Terminal, progress: Progress, quiet: bool) -> None:
        self._term = term
        self._progress = progress
        self._quiet = quiet
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._report, name="map-progress", daemon=True)

    def __enter__(self) -> Reporter:
        if not self._quiet:
            self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Take the changing line away and say what was done."""
        if self._quiet:
            return
        self._over.set()
        self._thread.join()
        if self._term.can_overwrite:
            self._term.progress("")
        self._term.say("sutler: " + self._progress.summary(time.monotonic()))

    def _report(self) -> None:
        live = self._term.can_overwrite
        while not self._over.wait(LIVE_EVERY_S if live else LINE_EVERY_S):
            line = self._progress.line(time.monotonic())
            try:
                if live:
                    self._term.progress(line)
                else:
                    self._term.say("sutler: " + line)
            except OSError:
                return  # nobody looks any more; the run itself goes on
