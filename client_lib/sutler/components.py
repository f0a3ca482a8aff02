"""The parts of a cognitive architecture that live on language models, on one daemon.

Each runs templates of the daemon's library under its own label, in its own lane, and gives the
decoded answer as the template's schema says it. What fails raises: no plan, vector, summary
or confidence is ever made up here.

>>> from sutler import Client
>>> from sutler.components import Planner
>>> from sutler.testing import FakeDaemon, reply
>>> with FakeDaemon() as daemon, Client(daemon.socket_path) as client:
...     daemon.reply("prompts.run", reply(parsed={"goal": "tea", "subgoals": []}))
...     Planner(client).generate_plan("tea")["goal"]
'tea'
"""

from sutler.client import Client
from sutler.errors import InvalidOutput
from sutler.types import Completion, _Wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from array import array
    from typing import Any, Dict, List, Mapping, Optional, Sequence, Union

    from typing_extensions import Unpack

    from sutler.options import EmbedOptions, PromptOptions
    from sutler.types import Embeddings

    Parsed = Dict[str, Any]
    Tool = Union[str, Mapping[str, Any]]

__all__ = ["Memory", "Metacognition", "Planner", "SafetyGate", "Verdict"]

SAFETY_TIMEOUT_S = 5.0
ALLOW, DENY, ESCALATE = "ALLOW", "DENY", "ESCALATE"


class _Component:
    """``client`` is one of its own if none is given. ``options`` are those of
    `Client.prompt`, for every call; ``templates`` names others in place of the library's, such
    as ``{"plan_generation": "plan_generation@2"}``."""

    component = ""
    lane = "normal"

    def __init__(
        self,
        client: "Optional[Client]" = None,
        *,
        templates: "Optional[Mapping[str, str]]" = None,
        **options: "Unpack[PromptOptions]",
    ) -> None:
        self._client = Client() if client is None else client
        self._templates = dict(templates or {})
        self._options: "Dict[str, Any]" = dict(options)
        self._options.setdefault("lane", self.lane)
        self._options["labels"] = self._labels(options.get("labels"))

    def _labels(self, given: "Optional[Mapping[str, str]]") -> "Dict[str, str]":
        labels = {"component": self.component}
        labels.update(given or {})
        return labels

    def _ask(self, template: str, **variables: "Any") -> "Parsed":
        name = self._templates.get(template, template)
        options: "Any" = self._options
        reply: Completion = self._client.prompt(name, variables, options)
        if not isinstance(reply.parsed, dict):
            message = "template %s gave no object: its schema must ask for one" % name
            raise InvalidOutput(message, data={"content": reply.content})
        return reply.parsed


class Planner(_Component):
    """Plans: made, refined, taken apart."""

    component = "planner"

    def generate_plan(
        self,
        goal: str,
        context: "Any" = "",
        constraints: "Any" = None,
        available_tools: "Optional[Sequence[Tool]]" = None,
    ) -> "Parsed":
        """Give ``{goal, subgoals: [{description, steps: [{action, tool, parameters,
        expected_outcome}]}]}``."""
        return self._ask(
            "plan_generation",
            goal=_said(goal, "goal"),
            context=context or None,
            constraints=constraints or None,
            available_tools=None if available_tools is None else list(available_tools),
        )

    def refine_plan(self, plan: "Any", feedback: "Any") -> "Parsed":
        """Give the whole plan again, changed as the feedback wants."""
        return self._ask(
            "plan_refinement", plan=_said(plan, "plan"), feedback=_said(feedback, "feedback")
        )

    def decompose_task(self, task: str, context: "Any" = "") -> "Parsed":
        """Give ``{subtasks: [{description, depends_on}]}``; the first is number 1."""
        return self._ask("task_decomposition", task=_said(task, "task"), context=context or None)

    def select_tool(self, task: str, tools: "Sequence[Tool]", context: "Any" = "") -> "Parsed":
        """Give ``{tool, parameters, reason}``; ``tool`` is one of those given, or ``none``.

        Raises InvalidOutput if the model names another.
        """
        names = [tool if isinstance(tool, str) else str(tool["name"]) for tool in tools]
        chosen = self._ask(
            "tool_selection",
            task=_said(task, "task"),
            tools=list(_some(tools, "tools")),
            context=context or None,
        )
        if chosen.get("tool") not in (*names, "none"):
            raise InvalidOutput(
                "the model chose a tool that there is not: %s" % str(chosen.get("tool"))[:80],
                data={"parsed": chosen},
            )
        return chosen


class Metacognition(_Component):
    """Judgement of plans and decisions."""

    component = "metacognition"

    def critique_plan(
        self, plan: "Any", context: "Any" = "", reasoning_trace: "Any" = ""
    ) -> "Parsed":
        """Give ``{decision: ACCEPT | REVISE | REJECT, confidence, issues, suggestions}``."""
        return self._ask(
            "metacognition_review",
            plan=_said(plan, "plan"),
            context=context or None,
            reasoning_trace=reasoning_trace or None,
        )

    def suggest_revisions(self, plan: "Any", issues: "Any") -> "Parsed":
        """Give ``{revisions: [{issue, change, rationale, priority}]}``."""
        return self._ask(
            "revision_suggestions", plan=_said(plan, "plan"), issues=_said(issues, "issues")
        )

    def generate_explanation(
        self, decision: "Any", reasoning: "Any", audience: "Optional[str]" = None
    ) -> "Parsed":
        """Give ``{explanation, key_factors, uncertainties}``."""
        return self._ask(
            "explanation",
            decision=_said(decision, "decision"),
            reasoning=_said(reasoning, "reasoning"),
            audience=audience,
        )

    def assess_confidence(self, plan: "Any", evidence: "Any") -> "Parsed":
        """Give ``{confidence, supporting, opposing, unknowns}``; ``confidence`` is 0 to 1."""
        return self._ask(
            "confidence", plan=_said(plan, "plan"), evidence=_said(evidence, "evidence")
        )


class Memory(_Component):
    """Vectors, summaries, facts. What it does can wait: its lane is ``background``."""

    component = "memory"
    lane = "background"

    def embed(
        self, texts: "Union[str, Sequence[str]]", **options: "Unpack[EmbedOptions]"
    ) -> "Embeddings":
        """Embed texts; row i belongs to text i."""
        own: "Any" = {"lane": self._options["lane"], "labels": self._options["labels"]}
        own.update(options)
        return self._client.embed(texts, **own)

    def embed_query(self, text: str, **options: "Unpack[EmbedOptions]") -> "array[float]":
        """Embed one text that somebody waits for; gives its vector."""
        urgent: "Any" = dict({"lane": "interactive"}, **options)
        return self.embed([_said(text, "text")], **urgent)[0]

    def summarize(
        self, texts: "Union[str, Sequence[str]]", focus: "Optional[str]" = None
    ) -> "Parsed":
        """Give ``{summary, key_points}``."""
        return self._ask("memory_summary", texts=_some(texts, "texts"), focus=focus)

    def extract(self, text: str) -> "Parsed":
        """Give ``{facts: [{subject, relation, object}]}``."""
        return self._ask("fact_extraction", text=_said(text, "text"))

    def consolidate(self, memories: "Sequence[str]") -> "Parsed":
        """Give ``{memories: [{text, sources}], contradictions}``; memory 1 is the oldest."""
        return self._ask("memory_consolidation", memories=list(_some(memories, "memories")))


class Verdict(_Wire):
    """What the safety gate decided. True only if the action is allowed, so that
    ``if gate.evaluate(...)`` lets nothing else through."""

    __slots__ = ()

    @property
    def decision(self) -> str:
        """``ALLOW``, ``DENY`` or ``ESCALATE``."""
        return str(self._wire["decision"])

    @property
    def reasons(self) -> "List[str]":
        return list(self._wire.get("reasons") or ())

    @property
    def rules_cited(self) -> "List[str]":
        return list(self._wire.get("rules_cited") or ())

    def __bool__(self) -> bool:
        return self.decision == ALLOW


class SafetyGate(_Component):
    """Whether an action may be done.

    Answered by the one model it is configured for, or not at all: it never falls back, and
    waits no longer than ``timeout_s``. Without a verdict it raises; what is not allowed is
    not done.
    """

    component = "safety"
    lane = "interactive"

    def __init__(
        self,
        client: "Optional[Client]" = None,
        *,
        rules: "Optional[Sequence[Union[str, Mapping[str, str]]]]" = None,
        templates: "Optional[Mapping[str, str]]" = None,
        **options: "Unpack[PromptOptions]",
    ) -> None:
        if options.get("fallback"):
            raise TypeError("the safety gate never falls back: name the model it shall ask")
        if options.get("timeout_s") is None:
            options["timeout_s"] = SAFETY_TIMEOUT_S
        options["fallback"] = False
        super().__init__(client, templates=templates, **options)
        self._rules = None if rules is None else list(_some(rules, "rules"))

    def evaluate(self, action: "Any", context: "Any" = "") -> Verdict:
        """Decide by the rules; by those of the library if none were given."""
        parsed = self._ask(
            "ethical_review",
            proposal=_said(action, "action"),
            context=context or None,
            rules=self._rules,
        )
        if parsed.get("decision") not in (ALLOW, DENY, ESCALATE):
            raise InvalidOutput("the safety gate got no verdict", data={"parsed": parsed})
        return Verdict(parsed)

    def assess_risk(self, action: "Any", context: "Any" = "") -> "Parsed":
        """Give ``{risks, reversible, level: low | medium | high | critical}``."""
        return self._ask("action_risk", action=_said(action, "action"), context=context or None)


def _said(value: "Any", name: str) -> "Any":
    """Refuse what says nothing: a model would answer all the same."""
    if value is None or (isinstance(value, str) and not value.strip()):
        raise ValueError("%s: must not be empty" % name)
    return value


def _some(values: "Any", name: str) -> "Any":
    if not _said(values, name):
        raise ValueError("%s: must not be empty" % name)
    return values
