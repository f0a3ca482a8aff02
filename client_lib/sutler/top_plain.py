"""`sutler top` with the standard library alone: on a terminal in place, else one screen after
another."""

from __future__ import annotations

import os

from sutler.top_layout import glyphs_for, page, width_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TextIO, Tuple

    from sutler.cli_terminal import Terminal
    from sutler.top_layout import Glyphs, Line
    from sutler.top_sight import Sight

_STYLES = {"dim": "dim", "bold": "bold", "good": "green", "warn": "yellow", "bad": "red"}
#: Of a screen that nobody sees the edge of.
_PIPE_COLUMNS = 120
_FALLBACK = (80, 24)


def window(out: TextIO) -> Tuple[int, int]:
    """Give columns and rows of the terminal; 80 by 24 where it does not say."""
    try:
        columns, rows = os.get_terminal_size(out.fileno())
    except (OSError, ValueError):
        return _FALLBACK
    return (columns, rows) if columns > 0 and rows > 0 else _FALLBACK


def text_of(lines: Tuple[Line, ...], term: Terminal) -> Tuple[str, ...]:
    return tuple(
        "".join(
            term.styled(text, _STYLES[tone]) if tone in _STYLES and text.strip() else text
            for text, tone in line
        )
        for line in lines
    )


class ScrollPainter:
    """Writes each screen after the last: for a pipe, a dumb terminal and a single look."""

    overwrites = False

    def __init__(self, term: Terminal, out: TextIO) -> None:
        self._term = term
        self._out = out
        self._painted = False

    def enter(self) -> None:
        """Begin; nothing is to be prepared."""

    def leave(self) -> None:
        """End; nothing is to be put back."""

    def paint(self, sight: Sight) -> None:
        columns = window(self._out)[0] if self._term.out_is_terminal else _PIPE_COLUMNS
        # A line that fills the last column would be followed by an empty one.
        lines = page(sight, columns - 1, 0, _glyphs(self._out))
        if self._painted:
            self._term.raw_line("")
        self._painted = True
        self._term.raw_line("\n".join(text_of(tuple(lines), self._term)))


class PlacePainter:
    """Overwrites the screen in place, as high and wide as the window is at that moment."""

    overwrites = True

    def __init__(self, term: Terminal, out: TextIO) -> None:
        self._term = term
        self._out = out

    def enter(self) -> None:
        """Take the terminal's other screen, without a cursor."""
        self._write("\x1b[?1049h\x1b[?25l\x1b[2J")

    def leave(self) -> None:
        self._write("\x1b[?25h\x1b[?1049l")

    def paint(self, sight: Sight) -> None:
        columns, rows = window(self._out)
        lines = page(sight, columns, rows, _glyphs(self._out))
        # Nothing is cleared that is not written anew at once: so it does not flicker.
        # A line of the whole width leaves the cursor on its last cell, which \x1b[K would clear.
        shown = [
            text if sum(width_of(part) for part, _ in line) >= columns else text + "\x1b[K"
            for line, text in zip(lines, text_of(tuple(lines), self._term))
        ]
        rest = "\x1b[J" if len(lines) < rows else ""
        self._write("\x1b[H" + "\r\n".join(shown) + ("\r\n" + rest if rest else ""))

    def _write(self, text: str) -> None:
        self._out.write(text)
        self._out.flush()


def _glyphs(out: TextIO) -> Glyphs:
    return glyphs_for(getattr(out, "encoding", None) or "ascii")
