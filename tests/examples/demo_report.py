"""The demo's closing table: what each rank did, and what it cost the model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict


class Row(TypedDict):
    """One rank's account. ``asked`` are its questions and texts, ``paid`` those for which this
    rank's own call reached the model; ``tokens`` are those of all answers it got."""

    rank: int
    asked: list[str]
    paid: list[str]
    cached: int
    coalesced: int
    tokens: int
    time_s: float


COLUMNS = ("rank", "calls", "cached", "coalesced", "tokens", "time")


def table(rows: Sequence[Row]) -> str:
    """Lay the rows out, one line a rank and one for the sum."""
    in_order = sorted(rows, key=lambda row: row["rank"])
    cells = [COLUMNS, *(_cells(str(row["rank"]), [row]) for row in in_order), _cells("all", rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(COLUMNS))]
    laid_out = [
        "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True))
        for line in cells
    ]
    rule = "-" * len(laid_out[0])
    return "\n".join([laid_out[0], rule, *laid_out[1:-1], rule, laid_out[-1]])


def conclusion(rows: Sequence[Row]) -> str:
    """Say in words how many calls reached the model and why the others did not have to."""
    calls = sum(len(row["asked"]) for row in rows)
    reached = sum(len(row["paid"]) for row in rows)
    cached = sum(row["cached"] for row in rows)
    coalesced = sum(row["coalesced"] for row in rows)
    said = (
        f"{calls} calls by {len(rows)} ranks: {reached} reached the model, {calls - reached} did"
        f" not have to\n({cached} answered from the cache, {coalesced} by joining the same call"
        " already under way)."
    )
    asked = {text for row in rows for text in row["asked"]}
    remembered = asked - {text for row in rows for text in row["paid"]}
    if remembered:
        said += (
            f"\n{len(remembered)} of the {len(asked)} different questions were answered from the"
            " persistent cache,\nwhich an earlier daemon filled and this one found on disk."
        )
    return said


def _cells(name: str, rows: Sequence[Row]) -> tuple[str, ...]:
    return (
        name,
        str(sum(len(row["asked"]) for row in rows)),
        str(sum(row["cached"] for row in rows)),
        str(sum(row["coalesced"] for row in rows)),
        str(sum(row["tokens"] for row in rows)),
        f"{max(row['time_s'] for row in rows):.2f} s",
    )
