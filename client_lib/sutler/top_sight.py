"""What `sutler top` shows: from the daemon's answers to bars and rows. Pure.

Nothing here knows how wide a screen is or what it can draw; `sutler.top_layout` does. An
answer of another version, with more or less in it, must not end anything: what is not there
is not shown.
"""

from __future__ import annotations

from typing import NamedTuple

from sutler.cli_tables import dollars, duration, size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, Mapping, Optional, Tuple

#: How a text is meant: plain, dim, bold, good, warn or bad.
PLAIN, DIM, BOLD, GOOD, WARN, BAD = "plain", "dim", "bold", "good", "warn", "bad"


class Note(NamedTuple):
    """A line of text."""

    text: str
    tone: str = PLAIN


class Bar(NamedTuple):
    """``share`` of the whole, and ``held`` more of it, both 0 to 1. ``need`` grows with how
    much somebody should look at it."""

    label: str
    share: float
    held: float
    said: str
    tone: str
    need: float


class Row(NamedTuple):
    """The cells of a table's row."""

    cells: Tuple[str, ...]
    tone: str = PLAIN


class Section(NamedTuple):
    """``head`` are the headings of ``rows``; one that begins with ``>`` stands to the right.

    ``quiet``: it says only that there is nothing to say.
    """

    title: str
    notes: Tuple[Note, ...] = ()
    bars: Tuple[Bar, ...] = ()
    head: Tuple[str, ...] = ()
    rows: Tuple[Row, ...] = ()
    quiet: bool = False


class Sight(NamedTuple):
    """A whole screen: what comes first matters most."""

    headline: Note
    sections: Tuple[Section, ...]


class Seen(NamedTuple):
    """The answers of one look; ``at_s`` is a monotonic clock's, ``names`` are users' by uid."""

    status: Dict[str, Any]
    queue: Dict[str, Any]
    budget: Dict[str, Any]
    at_s: float
    names: Mapping[int, str]


def sight(seen: Seen, before: Optional[Seen]) -> Sight:
    """Say what was seen; rates are those since ``before``, if that was the same daemon."""
    if before is not None and before.status.get("instance") != seen.status.get("instance"):
        before = None
    return Sight(
        _headline(seen.status),
        (
            _budgets(seen.budget),
            _limits(seen.status),
            _waiting(seen.queue),
            _answers(seen, before),
            _providers(seen.status),
            _callers(seen),
            _errors(seen),
            _cache(seen.status),
        ),
    )


def away(last: Sight, why: str, since_s: float) -> Sight:
    """Give the last screen as what it is: old."""
    said = "the daemon is away for %s, waiting for it: %s" % (duration(round(since_s)), why)
    return Sight(Note(said, BAD), tuple(_faded(section) for section in last.sections))


def _faded(section: Section) -> Section:
    return section._replace(
        notes=tuple(note._replace(tone=DIM) for note in section.notes),
        bars=tuple(bar._replace(tone=DIM) for bar in section.bars),
        rows=tuple(row._replace(tone=DIM) for row in section.rows),
    )


def _headline(status: Dict[str, Any]) -> Note:
    state = str(status.get("state", "?"))
    said = [
        state,
        "{:,} calls under way".format(status.get("calls_open", 0)),
        "{:,} connections".format(status.get("connections", 0)),
        "up " + duration(round(status.get("uptime_s", 0))),
        "sutlerd %s" % status.get("version", "?"),
    ]
    process = status.get("process") or {}
    if process.get("loop_stalls"):
        stalls = (process["loop_stalls"], duration(process.get("longest_stall_s", 0)))
        said.append("stalled %d times, %s at most" % stalls)
    return Note(" · ".join(said), BOLD if state == "running" else WARN)


def _quiet(title: str, text: str) -> Section:
    return Section(title, notes=(Note(text, DIM),), quiet=True)


def _budgets(answer: Dict[str, Any]) -> Section:
    bars = tuple(_budget(row) for row in answer.get("budgets", []))
    notes: List[Note] = []
    if answer.get("ledger", "open") != "open":
        notes.append(Note("the ledger is %s: calls that cost money wait" % answer["ledger"], BAD))
    if answer.get("unknown"):
        notes.append(Note("%d attempts of unknown outcome" % len(answer["unknown"]), WARN))
    if not bars and not notes:
        return _quiet("budgets", "none is set")
    return Section("budgets", tuple(notes), bars)


def _budget(row: Dict[str, Any]) -> Bar:
    limit, spent, held = row["limit_nanousd"], row["settled_nanousd"], row["pending_nanousd"]
    used, more = (spent / limit, held / limit) if limit > 0 else (1.0, 0.0)
    said = "%s of %s" % (dollars(spent), dollars(limit))
    if held:
        said += ", %s held" % dollars(held)
    if row.get("ends_at"):
        said += ", empty at " + _clock(row["ends_at"])
    elif used >= 1 and row.get("resets_at"):
        said += ", anew at " + _clock(row["resets_at"])
    tone = BAD if used >= 1 else WARN if used >= 0.8 or row.get("ends_at") else GOOD
    return Bar("%s %s" % (row["name"], row["scope"]), used, more, said, tone, used + more)


def _limits(status: Dict[str, Any]) -> Section:
    bars, notes = [], []
    for at in status.get("buckets", []):
        if at.get("closed_s", 0) > 0:
            closed = (at["boundary"], duration(at["closed_s"]))
            notes.append(Note("%s is closed for %s: the provider asked for it" % closed, WARN))
        for name, bucket in at["buckets"].items():
            bars.append(_limit(at["boundary"], name, bucket))
    if not bars and not notes:
        return _quiet("limits", "none is configured or known")
    return Section("limits", tuple(notes), tuple(bars))


def _limit(boundary: str, name: str, bucket: Dict[str, float]) -> Bar:
    level, capacity = bucket["level"], bucket["capacity"]
    left = max(0.0, level / capacity) if capacity > 0 else 0.0
    said = "%s of %s left" % (_count(level), _count(capacity))
    if level < 0:
        said = "owes " + _count(-level)
    if bucket.get("per_minute"):
        said += ", %s/min" % _count(bucket["per_minute"])
    tone = BAD if left < 0.1 else WARN if left < 0.3 else GOOD
    label = "%s %s" % (boundary, name.replace("_", " "))
    return Bar(label, min(1.0, left), 0.0, said, tone, 1 - left)


def _waiting(answer: Dict[str, Any]) -> Section:
    lanes: Dict[str, List[Dict[str, Any]]] = {}
    for row in answer.get("waiting", []):
        lanes.setdefault(row["lane"], []).append(row)
    if not lanes:
        return _quiet("queue", "nobody waits")
    rows = []
    for lane, waiting in sorted(lanes.items()):
        oldest_s = max(row["waited_s"] for row in waiting)
        reasons: Dict[str, int] = {}
        for row in waiting:
            # Behind others of the same bucket's queue; what those wait for says why.
            reason = "%s %s" % (row["boundary"], row["bucket"].replace("_", " "))
            reasons[reason] = reasons.get(reason, 0) + 1
        listed = sorted(reasons.items(), key=lambda pair: -pair[1])
        what = ", ".join("%s %s" % ("{:,}".format(count), name) for name, count in listed[:4])
        rows.append(Row((lane, "{:,}".format(len(waiting)), duration(round(oldest_s)), what)))
    return Section("queue", head=("lane", ">waiting", ">oldest", "for"), rows=tuple(rows))


def _answers(seen: Seen, before: Optional[Seen]) -> Section:
    now = _tally(seen)
    bars = []
    if before is not None and seen.at_s > before.at_s:
        fresh = {name: max(0, now[name] - count) for name, count in _tally(before).items()}
        pace = sum(fresh.values()) / (seen.at_s - before.at_s)
        bars.append(_share("since the last look", fresh, "%.3g answers/s" % pace))
    bars.append(_share("in all", now, "{:,} answers".format(sum(now.values()))))
    return Section("answers that cost nothing", bars=tuple(bars), quiet=not sum(now.values()))


def _tally(seen: Seen) -> Dict[str, int]:
    answers = seen.status.get("answers", {})
    return {name: answers.get(name, 0) for name in ("cached", "coalesced", "fresh")}


def _share(label: str, counts: Dict[str, int], said: str) -> Bar:
    """Give the part that the cache answered and, lighter, what was shared while under way."""
    total = sum(counts.values())
    hit, shared = (counts["cached"] / total, counts["coalesced"] / total) if total else (0.0, 0.0)
    if not total:
        return Bar(label, 0.0, 0.0, "no answers", DIM, 0.0)
    part = "%.0f %%" % (100 * (hit + shared))
    return Bar(label, hit, shared, "%s of %s" % (part, said), GOOD, 0.0)


def _providers(status: Dict[str, Any]) -> Section:
    circuits: Dict[str, List[Dict[str, Any]]] = {}
    for circuit in status.get("circuits", []):
        circuits.setdefault(circuit["provider"], []).append(circuit)
    rows = []
    for name, health in sorted(status.get("providers", {}).items()):
        mine = circuits.pop(name, [])
        whole = next((each for each in mine if each.get("model") is None), {})
        rows.append(_provider(name, health, whole))
        rows += [_circuit(each) for each in mine if _rests(each) and each.get("model")]
    for mine in circuits.values():
        rows += [_circuit(each) for each in mine if _rests(each)]
    if not rows:
        return _quiet("providers", "none")
    head = ("provider", "state", ">open", ">asked", ">failed", ">answered", "why")
    return Section("providers", head=head, rows=tuple(rows))


def _rests(circuit: Dict[str, Any]) -> bool:
    return bool(circuit) and circuit.get("state") != "closed"


def _provider(name: str, health: Dict[str, Any], circuit: Dict[str, Any]) -> Row:
    if health.get("state") == "off":
        return Row((name, "off", "", "", "", "", str(health.get("why") or "")), DIM)
    state, tone = ("well", PLAIN) if not _rests(circuit) else (_resting(circuit), BAD)
    failure = health.get("last_failure") or {}
    why = str(circuit.get("why") or "") if _rests(circuit) else ""
    said = failure.get("message") or failure.get("kind")  # the words are for operators
    if not why and said:
        why = "%s ago: %s" % (duration(round(failure.get("age_s", 0))), said)
    age_s = health.get("last_success_age_s")
    counts = ["{:,}".format(health.get(key, 0)) for key in ("in_flight", "attempts", "failures")]
    answered = "-" if age_s is None else duration(round(age_s))
    return Row((name, state, *counts, answered, why), tone)


def _circuit(circuit: Dict[str, Any]) -> Row:
    name = "  " + str(circuit.get("model") or circuit["provider"])
    counts = ["", "{:,}".format(circuit.get("calls", 0)), "{:,}".format(circuit.get("failures", 0))]
    return Row((name, _resting(circuit), *counts, "", str(circuit.get("why") or "")), BAD)


def _resting(circuit: Dict[str, Any]) -> str:
    state = str(circuit.get("state", "?")).replace("_", " ")
    if circuit.get("probe_in_s"):
        state += ", tried in " + duration(round(circuit["probe_in_s"]))
    return state


def _callers(seen: Seen) -> Section:
    waiting: Dict[Tuple[int, Any], int] = {}
    for row in seen.queue.get("waiting", []):
        key = (row["uid"], row.get("job"))
        waiting[key] = waiting.get(key, 0) + 1
    callers = sorted(
        seen.status.get("callers", []),
        key=lambda row: (-row["calls_open"], -row["connections"], row["uid"], str(row["job"])),
    )
    if not callers:
        return _quiet("callers", "none")
    rows = [
        Row(
            (
                _who(seen, row["uid"]),
                str(row["job"] or ""),
                "{:,}".format(row["connections"]),
                "{:,}".format(row["calls_open"]),
                "{:,}".format(waiting.get((row["uid"], row["job"]), 0)),
            ),
            PLAIN if row["calls_open"] else DIM,
        )
        for row in callers
    ]
    head = ("caller", "job", ">connections", ">calls", ">waiting")
    return Section("callers (%d)" % len(rows), head=head, rows=tuple(rows))


def _errors(seen: Seen) -> Section:
    rows = []
    for row in seen.status.get("recent_errors") or []:
        route = "/".join(filter(None, (row.get("provider"), row.get("model"))))
        error = str(row["error"]).replace("_", " ")
        when = _clock(row["unix_s"])
        rows.append(Row((when, error, route, _who(seen, row["uid"]), row.get("request_id") or "")))
    counts = seen.status.get("answers", {}).get("errors") or {}
    if not rows and not counts:
        return _quiet("recent errors", "none")
    listed = sorted(counts.items(), key=lambda pair: -pair[1])
    text = ", ".join("%s %s" % ("{:,}".format(n), name.replace("_", " ")) for name, n in listed)
    notes = (Note("in all: " + text, DIM),) if text else ()
    head = ("when", "error", "route", "caller", "request")
    return Section("recent errors", notes, head=head, rows=tuple(rows))


def _cache(status: Dict[str, Any]) -> Section:
    cache = status.get("cache") or {}
    limit, used = cache.get("limit_bytes") or 0, cache.get("size_bytes", 0)
    said = "{:,} answers, {}".format(cache.get("entries", 0), size(used))
    share = used / limit if limit else 0.0
    if limit:
        said += " of " + size(limit)
    bar = Bar("stored", min(1.0, share), 0.0, said, GOOD, 0.0)
    return Section("cache", bars=(bar,), quiet=not cache.get("entries"))


def _who(seen: Seen, uid: int) -> str:
    return "not yet known" if uid < 0 else seen.names.get(uid, str(uid))


def _count(value: float) -> str:
    return "{:,.0f}".format(value) if abs(value) >= 10 or value == int(value) else "%.1f" % value


def _clock(when: Any) -> str:
    """Give the local time of day of a unix time or an ISO date, with the day if not today's."""
    import datetime

    try:
        if isinstance(when, (int, float)):
            at = datetime.datetime.fromtimestamp(when).astimezone()
        else:
            at = datetime.datetime.fromisoformat(str(when)).astimezone()
    except (ValueError, OverflowError, OSError):
        return str(when)
    today = datetime.datetime.now().astimezone().date()
    return at.strftime("%H:%M:%S" if at.date() == today else "%d %b %H:%M")
