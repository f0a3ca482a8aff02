"""From what is to be shown to lines that fit a window: cells measured, cut and aligned. Pure."""

from __future__ import annotations

import unicodedata
from typing import NamedTuple

from sutler.cli_terminal import visible
from sutler.top_sight import BOLD, DIM, Section

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, List, Sequence, Tuple

    from sutler.top_sight import Bar, Row, Sight

    #: Parts of a line, each with its tone.
    Line = List[Tuple[str, str]]

_GAP = 2
_LEAST_BAR, _WIDEST_BAR = 4, 30
#: A cell is not cut shorter than this while more than so many columns are left.
_LEAST_CELL, _MOST_SMALL, _SMALLEST_CELL = 10, 2, 4


class Glyphs(NamedTuple):
    """What bars and cut ends are drawn with, and what every text is put into: ``encoding``."""

    full: str
    held: str
    empty: str
    more: str
    encoding: str

    def clean(self, text: str) -> str:
        """Give ``text`` on one line, with nothing in it that a terminal would obey."""
        if text.isascii() and text.isprintable():
            return text
        kept = visible(text).replace("\n", " ").replace("\t", " ")
        # What turns the direction of a line, or is not to be seen, could hide what follows.
        kept = "".join("\ufffd" if unicodedata.category(one) == "Cf" else one for one in kept)
        if self is not UNICODE:
            kept = kept.replace("·", "-").replace("…", self.more)
        return kept.encode(self.encoding, "replace").decode(self.encoding)


UNICODE = Glyphs("█", "▒", "░", "…", "utf-8")


def glyphs_for(encoding: str) -> Glyphs:
    """Give what an output of this encoding can show."""
    try:
        "".join(UNICODE[:4]).encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return Glyphs("#", "~", ".", "..", "ascii")
    same = encoding.lower().replace("-", "") == "utf8"
    return UNICODE if same else UNICODE._replace(encoding=encoding)


def width_of(text: str) -> int:
    """Count the cells that ``text`` takes: wide characters two, combining ones none."""
    if text.isascii():
        return len(text)
    return sum(_cells(one) for one in text)


def _cells(one: str) -> int:
    if unicodedata.category(one) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(one) in "WF" else 1


def cut(text: str, width: int, more: str) -> str:
    """Give ``text`` in ``width`` cells at most, with ``more`` where it was cut."""
    if width_of(text) <= width:
        return text
    kept, room = "", width - len(more)
    for one in text:
        room -= _cells(one)
        if room < 0:
            break
        kept += one
    return (kept + more)[: max(0, width)]


def pad(text: str, width: int, *, right: bool = False) -> str:
    blank = " " * max(0, width - width_of(text))
    return blank + text if right else text + blank


def wanted(section: Section) -> int:
    """Count the lines of a section that is shown in full, without its title."""
    table = len(section.rows) + 1 if section.rows else 0
    return len(section.notes) + len(section.bars) + table


def fit(sections: Sequence[Section], room: int, overhead: int) -> List[int]:
    """Give each section its lines of ``room``: 0 if it is not shown, ``overhead`` more if it is.

    Those that have something to say come first; what is left goes round.
    """
    wants = [wanted(section) for section in sections]
    given = [0] * len(wants)
    for quiet in (False, True):
        for at, section in enumerate(sections):
            # A heading alone says nothing: a table has a row, too.
            least = min(wants[at], 2 if section.rows else 1)
            if section.quiet == quiet and least and room >= overhead + least:
                given[at] = least
                room -= overhead + least
    growing = True
    while room > 0 and growing:
        growing = False
        for at, want in enumerate(wants):
            if 0 < given[at] < want and room > 0:
                given[at] += 1
                room -= 1
                growing = True
    return given


def lay(section: Section, width: int, most: int, glyphs: Glyphs) -> List[Line]:
    """Lay a section out in ``most`` lines of ``width`` cells; what is left out is counted."""
    hidden = wanted(section) - most
    counted = hidden > 0 and most > (2 if section.rows else 1)
    if counted:
        most, hidden = most - 1, hidden + 1
    lines: List[Line] = [
        [(cut(glyphs.clean(note.text), width, glyphs.more), note.tone)]
        for note in section.notes[: most - 2 if section.rows else most]
    ]
    lines += _bars(_neediest(section.bars, most - len(lines)), width, glyphs)
    if section.rows:
        lines += _table(section, width, most - len(lines), glyphs)
    if counted:
        lines.append([(cut("%s %s more" % (glyphs.more, "{:,}".format(hidden)), width, ""), DIM)])
    return lines


def _neediest(bars: Sequence[Bar], room: int) -> List[Bar]:
    """Choose the bars that should be looked at, and leave them in their order."""
    chosen = sorted(range(len(bars)), key=lambda at: -bars[at].need)[: max(0, room)]
    return [bars[at] for at in sorted(chosen)]


def _bars(bars: List[Bar], width: int, glyphs: Glyphs) -> List[Line]:
    if not bars:
        return []
    labels = [glyphs.clean(bar.label) for bar in bars]
    said = [glyphs.clean(bar.said) for bar in bars]
    first = min(max(width_of(label) for label in labels), max(8, width // 3))
    last = max(width_of(text) for text in said)
    room = min(_WIDEST_BAR, width - first - last - 2 * _GAP)
    if room < _LEAST_BAR:  # the numbers say more than a bar could
        room = 0
    lines = []
    for bar, label, text in zip(bars, labels, said):
        line: Line = [(pad(cut(label, first, glyphs.more), first) + " " * _GAP, _text_tone(bar))]
        if room:
            line += _drawn(bar, room, glyphs)
            line.append((" " * _GAP, _text_tone(bar)))
        left = width - first - _GAP - (room + _GAP if room else 0)
        line.append((cut(text, left, glyphs.more), _text_tone(bar)))
        lines.append(line)
    return lines


def _text_tone(bar: Bar) -> str:
    return DIM if bar.tone == DIM else "plain"


def _drawn(bar: Bar, room: int, glyphs: Glyphs) -> Line:
    full = min(room, int(bar.share * room + 0.5))
    if bar.share > 0 and not full:
        full = 1  # a little is not nothing
    held = min(room - full, -int(-bar.held * room // 1)) if bar.held > 0 else 0
    empty = room - full - held
    return [
        (glyphs.full * full, bar.tone),
        (glyphs.held * held, bar.tone),
        (glyphs.empty * empty, DIM),
    ]


def _table(section: Section, width: int, most: int, glyphs: Glyphs) -> List[Line]:
    shown: Sequence[Row] = section.rows[: max(1, most - 1)]
    names = [name.lstrip(">") for name in section.head]
    cells = [[glyphs.clean(text) for text in row.cells] for row in shown]
    columns = [
        at
        for at in range(len(names))
        if any(row[at] for row in cells)  # one in which nobody has anything to say is left out
    ]
    widths = {at: max(width_of(row[at]) for row in [names, *cells]) for at in columns}
    widths = _narrowed(widths, width)
    lines: List[Line] = []
    for texts, tone in [(names, BOLD)] + [(row, each.tone) for row, each in zip(cells, shown)]:
        parts = [
            pad(
                cut(texts[at], cells_wide, glyphs.more),
                cells_wide,
                right=section.head[at][0] == ">",
            )
            for at, cells_wide in widths.items()
        ]
        lines.append([((" " * _GAP).join(parts).rstrip(), tone)])
    return lines


def _narrowed(widths: Dict[int, int], width: int) -> Dict[int, int]:
    """Shrink the widest columns until all fit; where too little would be left of each, leave
    out the last ones."""
    for count in range(len(widths), 0, -1):
        kept = dict(list(widths.items())[:count])
        room = width - _GAP * (count - 1)
        least = _LEAST_CELL if count > _MOST_SMALL else _SMALLEST_CELL
        if sum(min(each, least) for each in kept.values()) <= room:
            while sum(kept.values()) > room:
                widest = max(kept, key=lambda at: (kept[at], at))
                kept[widest] -= 1
            return kept
    return {min(widths): max(1, width)} if widths else {}


def page(whole: Sight, width: int, height: int, glyphs: Glyphs) -> List[Line]:
    """Lay a whole screen out below each other; ``height`` 0 is as long as it takes."""
    lines: List[Line] = [
        [(cut(glyphs.clean(whole.headline.text), width, glyphs.more), whole.headline.tone)]
    ]
    spaced = not height or height >= len(lines) + sum(2 + wanted(s) for s in whole.sections)
    overhead = 2 if spaced else 1
    room = height - 1 if height else sum(2 + wanted(each) for each in whole.sections)
    for section, given in zip(whole.sections, fit(whole.sections, room, overhead)):
        if not given:
            continue
        if spaced:
            lines.append([])
        lines.append([(cut(glyphs.clean(section.title), width, glyphs.more), BOLD)])
        lines += lay(section, width, given, glyphs)
    return lines[:height] if height else lines
