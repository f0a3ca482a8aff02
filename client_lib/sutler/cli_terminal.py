"""Where the ``sutler`` command writes: a terminal for people, a pipe for programs.

A pipe gets exactly what was asked for, byte for byte. A terminal may get colours, several
lines of JSON, and never a control character that a model or a daemon put into its text:
such text could retitle the window or rewrite what is on the screen.
"""

from __future__ import annotations

import json
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Mapping, Optional, TextIO

_STYLES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33"}

#: Control characters are shown as in Unicode's control pictures; newline and tab stay.
_VISIBLE = {code: 0x2400 + code for code in range(0x20) if code not in (0x09, 0x0A)}
_VISIBLE[0x0D] = None  # type: ignore[assignment]  # CR LF is a line end, not a picture
_VISIBLE[0x7F] = 0x2421
_VISIBLE.update(dict.fromkeys(range(0x80, 0xA0), 0xFFFD))


def is_terminal(stream: Optional[TextIO]) -> bool:
    """Say whether a person looks at ``stream``; a closed or missing one is nobody."""
    try:
        return stream is not None and stream.isatty()
    except ValueError:
        return False


def visible(text: str) -> str:
    """Replace the control characters of ``text``, but newline and tab, by visible signs."""
    return text.translate(_VISIBLE)


def one_line(text: str) -> str:
    """Join the lines of ``text``; where one ends without punctuation, a semicolon parts them."""
    joined = ""
    for line in text.splitlines():
        words = " ".join(line.split())
        if joined and words:
            joined += " " if joined[-1] in ".:;,!?" else "; "
        joined += words
    return joined


def _nowhere() -> TextIO:
    return open(os.devnull, "w")  # for as long as the process lives


class Terminal:
    """The two output streams of a command and what may be written on each.

    ``columns`` is the width of the terminal in characters, 80 where there is none.
    """

    def __init__(
        self,
        stdout: Optional[TextIO],
        stderr: Optional[TextIO],
        environ: Mapping[str, str],
    ) -> None:
        # A closed standard stream (`>&-`) is None in Python; writing then goes nowhere.
        self._out = stdout if stdout is not None else _nowhere()
        self._err = stderr if stderr is not None else _nowhere()
        self.out_is_terminal = is_terminal(stdout)
        self.err_is_terminal = is_terminal(stderr)
        dumb = environ.get("TERM") in ("dumb", "unknown")
        plain = bool(environ.get("NO_COLOR")) or dumb
        #: whether `progress` works: a line that can be written over, and somebody who looks
        self.can_overwrite = self.err_is_terminal and not dumb
        #: whether the output is a screen that can be drawn on, not only written to
        self.can_replace_screen = self.out_is_terminal and not dumb
        self._colour_out = self.out_is_terminal and not plain
        self._colour_err = self.err_is_terminal and not plain

    @property
    def columns(self) -> int:
        try:
            return os.get_terminal_size(self._err.fileno()).columns or 80
        except (OSError, ValueError):
            return 80

    def write(self, text: str) -> None:
        """Write ``text`` to the output at once, as it is on a pipe, made safe on a terminal."""
        self._out.write(visible(text) if self.out_is_terminal else text)
        self._out.flush()

    def line(self, text: str = "") -> None:
        self.write(text + "\n")

    def json(self, value: Any) -> None:
        """Write ``value`` as JSON: indented on a terminal, one line on a pipe."""
        self.line(json.dumps(value, ensure_ascii=False, indent=2 if self.out_is_terminal else None))

    def styled(self, text: str, style: str) -> str:
        """Give ``text`` for `raw_line` in bold, dim, red, green or yellow, where that may be."""
        if not self._colour_out:
            return text
        return "\x1b[%sm%s\x1b[0m" % (_STYLES[style], text)

    def raw_line(self, text: str) -> None:
        """Write a line whose own escape sequences are meant; its parts were made `visible`."""
        self._out.write(text + "\n")
        self._out.flush()

    def say(self, text: str) -> None:
        """Tell the person something beside the output, on the error stream."""
        self._err.write(visible(text) + "\n")
        self._err.flush()

    def note(self, text: str) -> None:
        """Like `say`, less prominent, and only if a person looks at the error stream."""
        if self.err_is_terminal:
            dim, end = ("\x1b[2m", "\x1b[0m") if self._colour_err else ("", "")
            self._err.write(dim + visible(text) + end + "\n")
            self._err.flush()

    def problem(self, message: str) -> None:
        """Print one ``sutler: …`` line on the error stream, whatever ``message`` holds."""
        flat = visible(one_line(message)) or "unknown error"
        name = "\x1b[31msutler:\x1b[0m" if self._colour_err else "sutler:"
        try:
            self._err.write("%s %s\n" % (name, flat))
            self._err.flush()
        except (OSError, ValueError):
            pass  # nobody is there to be told; the exit code still says it

    def progress(self, text: str) -> None:
        """Overwrite the error stream's current line with ``text``, cut to the terminal's width."""
        self._err.write("\r\x1b[K" + visible(text)[: self.columns - 1])
        self._err.flush()

    def flush(self) -> None:
        self._out.flush()
        self._err.flush()


def prepare_standard_streams() -> None:
    """Make the standard streams take any text: UTF-8 on pipes, escapes instead of a failure.

    What a terminal is set to is left alone. Half a surrogate pair, which JSON can carry
    and UTF-8 cannot, is written as its escape.
    """
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is None:
            continue
        if is_terminal(stream):
            reconfigure(errors="backslashreplace")
        else:
            reconfigure(encoding="utf-8", errors="backslashreplace")
