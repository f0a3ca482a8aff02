"""`sutler top` drawn with rich, where it is installed: panels that fill the window.

The lines in the panels are those of `sutler.top_layout`; rich frames, colours and places them,
and writes a frame in one piece.
"""

from __future__ import annotations

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from sutler.top_layout import cut, fit, glyphs_for, lay, page, wanted
from sutler.top_plain import window

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import List, Optional, Sequence, TextIO

    from rich.console import RenderableType

    from sutler.top_layout import Glyphs, Line
    from sutler.top_sight import Section, Sight

_STYLES = {
    "plain": "",
    "dim": "dim",
    "bold": "bold",
    "good": "green",
    "warn": "yellow",
    "bad": "bold red",
}
#: Lower windows have no room for frames; narrow ones only where all of it fits.
_LEAST_ROWS = 16
_TWO_COLUMNS = 110
_FRAME_COLUMNS, _FRAME_ROWS = 4, 2


class RichPainter:
    """Redraws the window as it is at that moment."""

    overwrites = True

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._console = Console(
            file=out, force_terminal=True, highlight=False, markup=False, emoji=False
        )
        self._live: Optional[Live] = None

    def enter(self) -> None:
        """Take the terminal's other screen, without a cursor."""
        self._live = Live(
            Text(""),
            console=self._console,
            screen=True,
            auto_refresh=False,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._live.start()

    def leave(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def paint(self, sight: Sight) -> None:
        assert self._live is not None, "entered"
        columns, rows = window(self._out)
        # Rich would go by COLUMNS and LINES, which are those of the shell that exported them.
        self._console.width, self._console.height = columns, rows
        glyphs = glyphs_for(self._console.encoding)
        self._live.update(drawn(sight, columns, rows, glyphs), refresh=True)


def drawn(sight: Sight, columns: int, rows: int, glyphs: Glyphs) -> RenderableType:
    """Give a screen of exactly this window."""
    framed = sum(wanted(each) + _FRAME_ROWS for each in sight.sections) < rows
    if (columns < _TWO_COLUMNS and not framed) or rows < _LEAST_ROWS:
        return Group(*[_text(line) for line in page(sight, columns, rows, glyphs)])
    headline = cut(glyphs.clean(sight.headline.text), columns, glyphs.more)
    top = _text([(headline, sight.headline.tone)])
    sides: List[List[Section]] = [list(sight.sections)]
    if columns >= _TWO_COLUMNS:
        sides = _in_two(sight.sections, rows - 1)
    wide = columns // len(sides)
    grid = Table.grid(padding=0)
    for _ in sides:
        grid.add_column(width=wide)
    grid.add_row(*[_side(side, wide, rows - 1, glyphs) for side in sides])
    return Group(top, grid)


def _in_two(sections: Sequence[Section], rows: int) -> List[List[Section]]:
    """Part the sections so that both sides are about as long, in the order of their weight."""
    sides: List[List[Section]] = [[], []]
    filled = [0, 0]
    for section in sections:
        at = 0 if filled[0] <= filled[1] else 1
        sides[at].append(section)
        filled[at] += min(wanted(section), rows // 3) + _FRAME_ROWS
    return sides


def _side(sections: Sequence[Section], columns: int, rows: int, glyphs: Glyphs) -> Group:
    panels = []
    for section, given in zip(sections, fit(sections, rows, _FRAME_ROWS)):
        if given:
            lines = lay(section, columns - _FRAME_COLUMNS, given, glyphs)
            title = Text(cut(glyphs.clean(section.title), columns - 8, glyphs.more), style="bold")
            inside = Group(*[_text(line) for line in lines])
            panels.append(
                Panel(
                    inside,
                    title=title,
                    title_align="left",
                    border_style="dim",
                    width=columns,
                    height=given + _FRAME_ROWS,
                )
            )
    return Group(*panels)


def _text(line: Line) -> Text:
    text = Text(no_wrap=True, overflow="crop")
    for part, tone in line:
        text.append(part, style=_STYLES[tone])
    return text
