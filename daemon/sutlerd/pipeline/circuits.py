"""Which routes are asked at all: a circuit for each endpoint, and one for each of its models.

What the endpoint's network, credential and permission say closes the endpoint; what one model's
server or name says closes that model alone. What callers did wrong, and limits, say nothing of
either. Translates between attempts and the bare circuits of the admission room.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Collection
from dataclasses import dataclass
from enum import Enum
from typing import Any

from sutlerd.admission.circuit import EVERY_MINUTE, GROWING, HOURLY, NEVER, Circuit, Rule, State
from sutlerd.config.schema_llm import LlmConfig
from sutlerd.domain.call import Route
from sutlerd.domain.errors import ProviderUnavailable
from sutlerd.domain.ports import Clock, EventLog
from sutlerd.domain.record import quick
from sutlerd.providers.contract import AttemptFailed, Outcome, Verdict

_MOST_MODELS = 1024
#: The loop beats this often while attempts are under way; one this late was asleep.
_BEAT_S = 1.0
_ASLEEP_S = 1.0
_PASSING_STATUSES = frozenset({408, 409, 425, 498})
_TOO_MANY = 429


class RouteClosed(ProviderUnavailable):
    """A route is not asked for now. ``lasting``: no wait mends it, somebody has to.
    ``model_gone``: its model alone is not there."""

    def __init__(
        self,
        route: Route,
        why: str,
        *,
        closed_for_s: float,
        lasting: bool,
        model_gone: bool = False,
    ) -> None:
        known = math.isfinite(closed_for_s)
        again = f"tried again in {closed_for_s:.0f} s" if known else "until the next reload"
        super().__init__(
            f"{route} is left alone after: {why} ({again})",
            retry_after_s=round(max(closed_for_s, 0.001), 3) if known else None,
        )
        self.lasting = lasting
        self.route = route
        self.model_gone = model_gone


class Sign(Enum):
    """What the end of an attempt says of an endpoint or a model."""

    WELL = "well"
    ILL = "ill"
    NOTHING = "nothing"


@dataclass(eq=False, slots=True, kw_only=True)
class Entry:
    """An attempt on its way; ended once, by ``Circuits``."""

    circuits: Circuits
    route: Route
    endpoint: Circuit
    model: Circuit
    started_s: float
    probes_endpoint: bool
    probes_model: bool
    ended: bool = False

    def release(self) -> None:
        """End it: it was never made, or nobody waited for its end."""
        self.circuits.passed_by(self)


_new_entry = quick(Entry)


class Circuits:
    """One per daemon. ``on_shut`` hears of a provider that is left alone from now on, or of one
    whose probe failed."""

    def __init__(
        self,
        *,
        llm: LlmConfig,
        clock: Clock,
        log: EventLog,
        on_shut: Callable[[str], None] = lambda provider: None,
    ) -> None:
        self._clock = clock
        self._log = log
        self._on_shut = on_shut
        self._endpoints: dict[str, Circuit] = {}
        self._models: dict[Route, Circuit] = {}
        self._open_entries = 0
        self._beat: asyncio.TimerHandle | None = None
        self._beat_due_s = 0.0
        self._woke_s = -math.inf
        self.adopt(llm)

    def adopt(self, llm: LlmConfig) -> None:
        """Go by another configuration, and give everybody another chance."""
        self._local: Collection[str] = {
            name for name, provider in llm.providers.items() if provider.local
        }
        self._rule = Rule(
            window_s=llm.circuit.window_s,
            failed_part=llm.circuit.failure_pct / 100,
            least_calls=llm.circuit.least_calls,
        )
        self._endpoints.clear()
        self._models.clear()

    def check(self, route: Route) -> None:
        """Raise ``RouteClosed`` if the route is left alone now. Takes nothing."""
        endpoint, model = self._endpoints.get(route.provider), self._models.get(route)
        if (endpoint is None or endpoint.pace is None) and (model is None or model.pace is None):
            return
        now_s = self._clock.monotonic_s()
        longest_s, circuit = 0.0, None
        for each in (endpoint, model):
            closed_for_s = 0.0 if each is None else each.closed_for_s(now_s)
            if closed_for_s > longest_s:
                longest_s, circuit = closed_for_s, each
        if circuit is not None:
            lasting = circuit.pace in (HOURLY, NEVER)
            raise RouteClosed(
                route,
                circuit.why,
                closed_for_s=longest_s,
                lasting=lasting,
                model_gone=circuit.pace is NEVER and circuit is self._models.get(route),
            )

    def is_asked(self, route: Route) -> bool:
        """Tell whether the route would be asked now."""
        try:
            self.check(route)
        except RouteClosed:
            return False
        return True

    def enter(self, route: Route) -> Entry:
        """Let an attempt pass, as the probe if one is due. Raises ``RouteClosed``."""
        self.check(route)
        now_s = self._clock.monotonic_s()
        endpoint, model = self._of(route)
        self._open_entries += 1
        if self._beat is None:
            self._next_beat(now_s)
        return _new_entry(
            circuits=self,
            route=route,
            endpoint=endpoint,
            model=model,
            started_s=now_s,
            probes_endpoint=endpoint.enter(now_s),
            probes_model=model.enter(now_s),
        )

    def succeeded(self, entry: Entry) -> None:
        self._end(entry)
        now_s = self._clock.monotonic_s()
        if entry.endpoint.succeeded(now_s, probe=entry.probes_endpoint):
            self._tell_closed(entry.route.provider, None)
        if entry.model.succeeded(now_s, probe=entry.probes_model):
            self._tell_closed(entry.route.provider, entry.route.model)

    def failed(self, entry: Entry, failure: AttemptFailed) -> None:
        self._end(entry)
        now_s, route = self._clock.monotonic_s(), entry.route
        endpoint, model = entry.endpoint, entry.model
        local = route.provider in self._local
        if failure.verdict is Verdict.CLOSED:
            refused = _is_refusal(failure)
            pace = EVERY_MINUTE if local else HOURLY if refused else GROWING
            model.passed_by(probe=entry.probes_model)
            opened = endpoint.judged(now_s, pace, failure.message, probe=entry.probes_endpoint)
            self._shut(route.provider, None, endpoint, opened, probe=entry.probes_endpoint)
            return
        if failure.verdict is Verdict.MODEL_GONE:
            answered = Sign.NOTHING if failure.outcome is Outcome.NOT_SENT else Sign.WELL
            self._note(entry, answered, failure, of_model=False)
            if failure.outcome is Outcome.NOT_SENT:
                # Known without asking: asking again costs nothing.
                model.passed_by(probe=entry.probes_model)
                return
            pace = EVERY_MINUTE if local else NEVER
            opened = model.judged(now_s, pace, failure.message, probe=entry.probes_model)
            self._shut(route.provider, route.model, model, opened, probe=entry.probes_model)
            return
        of_endpoint, of_model = signs(failure, local=local)
        if entry.started_s <= self._woke_s and now_s - self._woke_s < _ASLEEP_S:
            # It failed while this process slept: that says nothing of anybody else.
            of_endpoint = of_model = Sign.NOTHING
        self._note(entry, of_endpoint, failure, of_model=False)
        self._note(entry, of_model, failure, of_model=True)

    def passed_by(self, entry: Entry) -> None:
        """End an attempt whose end says nothing: it was cut, or never made."""
        if not entry.ended:
            self._end(entry)
            entry.endpoint.passed_by(probe=entry.probes_endpoint)
            entry.model.passed_by(probe=entry.probes_model)

    def reset(self, provider: str) -> None:
        """Believe an operator that a provider is well."""
        self._endpoints.pop(provider, None)
        for route in [route for route in self._models if route.provider == provider]:
            del self._models[route]

    def snapshot(self) -> list[dict[str, Any]]:
        """Tell every endpoint's circuit, and those of models that are not closed."""
        now_s = self._clock.monotonic_s()
        rows = [_row(name, None, circuit, now_s) for name, circuit in self._endpoints.items()]
        rows += [
            _row(route.provider, route.model, circuit, now_s)
            for route, circuit in self._models.items()
            if circuit.state is not State.CLOSED
        ]
        return sorted(rows, key=lambda row: (row["provider"], row["model"] or ""))

    def _of(self, route: Route) -> tuple[Circuit, Circuit]:
        pace = EVERY_MINUTE if route.provider in self._local else GROWING
        endpoint = self._endpoints.get(route.provider)
        if endpoint is None:
            endpoint = self._endpoints[route.provider] = Circuit(rule=self._rule, pace=pace)
        model = self._models.get(route)
        if model is None:
            if len(self._models) >= _MOST_MODELS:
                del self._models[next(iter(self._models))]
            model = self._models[route] = Circuit(rule=self._rule, pace=pace)
        return endpoint, model

    def _note(self, entry: Entry, sign: Sign, failure: AttemptFailed, *, of_model: bool) -> None:
        now_s, provider = self._clock.monotonic_s(), entry.route.provider
        circuit, model = entry.endpoint, None
        probe = entry.probes_endpoint
        if of_model:
            circuit, model = entry.model, entry.route.model
            probe = entry.probes_model
        if sign is Sign.NOTHING:
            circuit.passed_by(probe=probe)
        elif sign is Sign.WELL:
            if circuit.pace in (HOURLY, NEVER):
                circuit.passed_by(probe=probe)  # that it answers was not the trouble
            elif circuit.succeeded(now_s, probe=probe):
                self._tell_closed(provider, model)
        else:
            opened = circuit.failed(now_s, _reason(failure), probe=probe)
            self._shut(provider, model, circuit, opened, probe=probe)

    def _shut(
        self, provider: str, model: str | None, circuit: Circuit, opened: bool, *, probe: bool
    ) -> None:
        """Tell of a circuit that a failure has opened; who waits hears of a probe's, too."""
        if opened:
            self._tell_open(provider, model, circuit)
        if opened or probe:
            self._on_shut(provider)

    def _tell_open(self, provider: str, model: str | None, circuit: Circuit) -> None:
        now_s = self._clock.monotonic_s()
        probe_s = circuit.closed_for_s(now_s)
        self._log.event(
            "warning",
            "circuit_open",
            provider=provider,
            model=model,
            why=circuit.why,
            probe_in_s=round(probe_s, 3) if math.isfinite(probe_s) else None,
        )

    def _tell_closed(self, provider: str, model: str | None) -> None:
        self._log.event("info", "circuit_closed", provider=provider, model=model)

    def _end(self, entry: Entry) -> None:
        assert not entry.ended, "an attempt ends once"
        entry.ended = True
        self._open_entries -= 1

    def _next_beat(self, now_s: float) -> None:
        self._beat_due_s = now_s + _BEAT_S
        self._beat = asyncio.get_running_loop().call_later(_BEAT_S, self._beats)

    def _beats(self) -> None:
        now_s = self._clock.monotonic_s()
        if now_s - self._beat_due_s > _ASLEEP_S:
            self._woke_s = now_s
        self._beat = None
        if self._open_entries:
            self._next_beat(now_s)


def _reason(failure: AttemptFailed) -> str:
    """Give what all callers are told: a status alone, as the words with it are for who asked."""
    status = failure.status
    return failure.message if status is None or status < 400 else f"HTTP {status}"


def signs(failure: AttemptFailed, *, local: bool) -> tuple[Sign, Sign]:
    """Tell what a failure says of the endpoint and of the model. Pure."""
    status, kind = failure.status, failure.kind
    if failure.verdict in (Verdict.REFUSED, Verdict.TOO_LONG) or status == _TOO_MANY:
        return Sign.WELL, Sign.WELL
    if kind.startswith("process_"):
        # The process has a supervisor of its own, and asking costs nothing.
        return Sign.NOTHING, Sign.NOTHING
    if kind == "timeout":
        # Local servers load models for minutes, and what was not sent was our own haste.
        slow = failure.outcome is not Outcome.NOT_SENT and not local
        return Sign.NOTHING, Sign.ILL if slow else Sign.NOTHING
    if status is None:
        unreached = failure.outcome is Outcome.NOT_SENT or kind in ("reset", "cut")
        return (Sign.ILL, Sign.NOTHING) if unreached else (Sign.NOTHING, Sign.ILL)
    if 400 <= status < 500 and status not in _PASSING_STATUSES:
        # One of several endpoints was refused, and the others stand in for it.
        return Sign.NOTHING, Sign.NOTHING
    return Sign.WELL, Sign.ILL


def _is_refusal(failure: AttemptFailed) -> bool:
    return failure.status is not None and 400 <= failure.status < 500


def _row(provider: str, model: str | None, circuit: Circuit, now_s: float) -> dict[str, Any]:
    calls, failures = circuit.counts(now_s)
    closed_for_s = circuit.closed_for_s(now_s)
    shut = circuit.state is not State.CLOSED
    return {
        "provider": provider,
        "model": model,
        "state": circuit.state.value,
        "calls": calls,
        "failures": failures,
        "probe_in_s": round(closed_for_s, 3) if shut and math.isfinite(closed_for_s) else None,
        "why": circuit.why or None,
    }
