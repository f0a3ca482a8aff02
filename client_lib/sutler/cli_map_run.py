"""One run of ``sutler map``: rows to the client, outcomes in order, a word on how far it is."""

from __future__ import annotations

import threading
import time
from collections import deque

from sutler.cli_map_rows import error_value, problem_value, written_line
from sutler.errors import ConnectionLost, DaemonUnavailable, ShuttingDown, SutlerError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Deque, Dict, Iterator, List, Tuple, Union

    from sutler.cli_map_output import OutputFile
    from sutler.cli_map_rows import Row
    from sutler.cli_progress import Progress
    from sutler.cli_terminal import Terminal
    from sutler.client import Client
    from sutler.types import Completion

    Answer = Union[Completion, SutlerError]

#: No row's fault: the same row is asked again once the daemon is back, under the same request
#: id, so that an answer it gave meanwhile is not bought twice.
_DAEMON_AWAY = (ConnectionLost, DaemonUnavailable, ShuttingDown)
#: A row that the daemon dies of must not be asked for ever.
_MOST_ROUNDS = 4
_LOOK_EVERY_S = 0.2

LIVE_EVERY_S = 0.2
LINE_EVERY_S = 10.0


class Run:
    """Asks rows with at most ``in_flight`` calls at once and counts what becomes of them.

    A daemon that goes away is waited for ``wait_s``; ``say`` tells the user.
    """

    def __init__(
        self,
        client: Client,
        progress: Progress,
        in_flight: int,
        wait_s: float,
        say: Callable[[str], None],
    ) -> None:
        self._client = client
        self._progress = progress
        self._in_flight = in_flight
        self._wait_s = wait_s
        self._say = say

    def append(self, output: OutputFile, rows: Iterator[Row]) -> None:
        """Write each row as soon as all rows before it are written."""
        for row, answer in self._answers(rows):
            output.append(self._line(row, answer))

    def replace(self, output: OutputFile, rows: List[Row]) -> None:
        """Ask ``rows`` again; the new lines take the place of the old, even if interrupted."""
        lines: Dict[int, bytes] = {}
        try:
            for row, answer in self._answers(iter(rows)):
                lines[row.index] = self._line(row, answer)
        finally:
            output.replace(lines)

    def _line(self, row: Row, answer: Answer) -> bytes:
        """Count an answer and give the line that says it."""
        if isinstance(answer, SutlerError):
            self._progress.add_failure()
            problem = row.problem
            value = error_value(answer) if problem is None else problem_value(problem)
            return written_line(row, "error", value)
        reply = answer.to_dict()
        self._progress.add_reply(reply)
        return written_line(row, "result", reply)

    def _answers(self, rows: Iterator[Row]) -> Iterator[Tuple[Row, Answer]]:
        """Give every row and its answer, in order, through restarts of the daemon.

        Raises what tells that the daemon is away, if it stays away.
        """
        while True:
            held: List[Tuple[Row, Answer]] = []
            for row, answer in self._round(rows, held):
                if held or isinstance(answer, _DAEMON_AWAY):
                    held.append((row, answer))  # from now on, no further row is begun
                else:
                    yield row, answer
            if not held:
                return
            yield from self._asked_again(held)

    def _asked_again(self, held: List[Tuple[Row, Answer]]) -> Iterator[Tuple[Row, Answer]]:
        """Give ``held`` with better answers than that the daemon was away."""
        for _ in range(_MOST_ROUNDS):
            lost = [at for at, (_, answer) in enumerate(held) if isinstance(answer, _DAEMON_AWAY)]
            if not lost:
                break
            self._wait_for_daemon()
            again = self._round(iter([held[at][0] for at in lost]), [])
            for at, pair in zip(lost, again):
                held[at] = pair
        for row, answer in held:
            if isinstance(answer, (DaemonUnavailable, ShuttingDown)):
                raise answer
            yield row, answer

    def _wait_for_daemon(self) -> None:
        """Return once the daemon answers; raises what it fails with when patience ends."""
        until_s = time.monotonic() + self._wait_s
        said = False
        while True:
            try:
                self._client.ping(timeout_s=max(1.0, self._wait_s))
                return
            except _DAEMON_AWAY:
                if time.monotonic() >= until_s:
                    raise
            if not said:
                self._say("the daemon is away; waiting %.3g s for it" % self._wait_s)
                said = True
            time.sleep(_LOOK_EVERY_S)

    def _round(
        self, rows: Iterator[Row], held: List[Tuple[Row, Answer]]
    ) -> Iterator[Tuple[Row, Answer]]:
        """Ask rows until there are no more or something is ``held``; answer those begun."""
        waiting: Deque[Row] = deque()

        def asked() -> Iterator[Dict[str, Any]]:
            while not held:
                row = next(rows, None)
                if row is None:
                    return
                waiting.append(row)
                if row.problem is None:
                    yield row.asked()

        for answer in self._client.map(asked(), max_in_flight=self._in_flight, return_errors=True):
            while waiting[0].problem is not None:
                yield waiting.popleft(), _UNASKED
            yield waiting.popleft(), answer
        while waiting:
            yield waiting.popleft(), _UNASKED


#: Stands for the answer of a row that has a problem of its own.
_UNASKED = SutlerError("not asked")


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
        self.say(self._progress.summary(time.monotonic()))

    def say(self, text: str) -> None:
        """Say something that is not only about how far it is."""
        if self._quiet:
            return
        if self._term.can_overwrite:
            self._term.progress("")
        self._term.say("sutler: " + text)

    def _report(self) -> None:
        live = self._term.can_overwrite
        while not self._over.wait(LIVE_EVERY_S if live else LINE_EVERY_S):
            line = self._progress.line(time.monotonic())
            try:
                if live:
                    self._term.progress(line)
                else:
                    self.say(line)
            except OSError:
                return  # nobody looks any more; the run itself goes on
