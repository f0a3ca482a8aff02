"""What attempts have taught, for those to come; outlives a reload."""

from __future__ import annotations

from collections.abc import Callable

from sutlerd.admission.latency import Latencies
from sutlerd.admission.retry_budget import RetryBudget
from sutlerd.config.schema_llm import LlmConfig
from sutlerd.domain.ports import Clock, EventLog
from sutlerd.pipeline.circuits import Circuits


class Experience:
    """One per daemon. ``on_shut``: see ``Circuits``."""

    def __init__(
        self, *, llm: LlmConfig, clock: Clock, log: EventLog, on_shut: Callable[[str], None]
    ) -> None:
        retry = llm.retry
        self.circuits = Circuits(llm=llm, clock=clock, log=log, on_shut=on_shut)
        self.retry_budget = RetryBudget(
            part=retry.budget_pct / 100, floor=retry.budget_floor_per_minute
        )
        self.latencies = Latencies()

    def adopt(self, llm: LlmConfig) -> None:
        """Go by another configuration; circuits begin anew: what closed them may be mended."""
        self.circuits.adopt(llm)
        self.retry_budget.part = llm.retry.budget_pct / 100
        self.retry_budget.floor = llm.retry.budget_floor_per_minute
