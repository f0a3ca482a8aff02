"""Where an attempt stands among all that wait: the path of the fair queue."""

from __future__ import annotations

from sutlerd.admission.fair_queue import Step
from sutlerd.config.schema_llm import FairnessConfig
from sutlerd.domain.caller import Caller
from sutlerd.domain.record import record
from sutlerd.system.access import gid_of, uid_of
from sutlerd.system.exits import CannotStart, Exit

#: Weights of a caller's own lanes: an urgent call goes first, and nothing starves.
LANE_WEIGHTS = {"interactive": 16.0, "normal": 4.0, "background": 1.0}
_WHOLE_PCT = 100.0
#: Connections by lane whose path is remembered, gone ones among them; 1 KB each.
MOST_KNOWN = 1024
_LEAST_ORDINARY_PCT = 1.0


@record
class Asker:
    """Whose attempt it is; ``caller`` is one object a connection."""

    caller: Caller
    lane: str


@record
class _Grant:
    """Who may use a lane ahead of other users' calls, and its share in percent."""

    uids: frozenset[int]
    gids: frozenset[int]
    reserved_pct: float


class Places:
    """Fair between uids first, then a uid's lanes by weight, its jobs, its connections.

    Lanes reach across uids only for those whom the operator granted one: they stand in a class
    of their own, with a reserved share. Raises ``CannotStart`` for users nobody knows.
    """

    def __init__(self, fairness: FairnessConfig) -> None:
        try:
            self._weights = {uid_of(user): weight for user, weight in fairness.weights.items()}
            self._grants: dict[str, _Grant] = {
                lane: _Grant(
                    uids=frozenset(uid_of(user) for user in grant.users),
                    gids=frozenset(gid_of(group) for group in grant.groups),
                    reserved_pct=grant.reserved_pct,
                )
                for lane, grant in fairness.lanes.items()
            }
        except KeyError as error:
            raise CannotStart(
                Exit.CONFIGURATION, f"llm.fairness: nobody is called {error}"
            ) from None
        reserved_pct = sum(grant.reserved_pct for grant in self._grants.values())
        self._known: dict[tuple[int, str], tuple[Caller, tuple[Step, ...]]] = {}
        self._ordinary = Step("ordinary", max(_WHOLE_PCT - reserved_pct, _LEAST_ORDINARY_PCT))

    def of(self, asker: Asker) -> tuple[Step, ...]:
        """Give the path; remembered, since a connection asks for the same one all its life."""
        key = (id(asker.caller), asker.lane)
        known = self._known.get(key)
        if known is not None and known[0] is asker.caller:
            return known[1]
        if len(self._known) >= MOST_KNOWN:
            self._known.clear()
        path = self._path(asker)
        self._known[key] = (asker.caller, path)
        return path

    def _path(self, asker: Asker) -> tuple[Step, ...]:
        caller = asker.caller
        return (
            self._class(asker),
            Step(caller.uid, self._weights.get(caller.uid, 1.0)),
            Step(asker.lane, LANE_WEIGHTS[asker.lane]),
            Step(caller.job),
            Step(id(caller)),
        )

    def _class(self, asker: Asker) -> Step:
        grant = self._grants.get(asker.lane)
        if grant is None or not grant.reserved_pct:
            return self._ordinary
        caller = asker.caller
        if caller.uid in grant.uids or not grant.gids.isdisjoint(caller.groups | {caller.gid}):
            return Step(asker.lane, grant.reserved_pct)
        return self._ordinary
