"""The four components: what each asks for, and that none of them makes anything up."""

import doctest
import unittest

import sutler.components
from sutler import InvalidOutput, InvalidParams, ProviderUnavailable, Timeout
from sutler.components import Memory, Metacognition, Planner, SafetyGate
from sutler.testing import Hold, reply
from tests.unit.client.support import Case

PLAN = {"goal": "g", "subgoals": []}


def parsed(**value):
    return reply("{}", parsed=value)


class Components(Case):
    def asked(self, daemon):
        return [(one.params["name"], one.params["variables"]) for one in daemon.asked]

    def test_the_planner_runs_its_templates_in_its_own_name(self):
        daemon = self.daemon(**{"prompts.run": [parsed(tool="calc", parameters={}, reason="r")]})
        planner = Planner(self.client(), model="m", labels={"project": "p"})
        planner.generate_plan("goal")
        planner.generate_plan("goal", "known", ["cheap"], ["calc", {"name": "web"}])
        planner.refine_plan(PLAN, {"issues": []})
        planner.decompose_task("task")
        self.assertEqual(planner.select_tool("task", [{"name": "calc"}])["tool"], "calc")
        self.assertEqual(
            self.asked(daemon),
            [
                ("plan_generation", {"goal": "goal"}),
                (
                    "plan_generation",
                    {
                        "goal": "goal",
                        "context": "known",
                        "constraints": ["cheap"],
                        "available_tools": ["calc", {"name": "web"}],
                    },
                ),
                ("plan_refinement", {"plan": PLAN, "feedback": {"issues": []}}),
                ("task_decomposition", {"task": "task"}),
                ("tool_selection", {"task": "task", "tools": [{"name": "calc"}]}),
            ],
        )
        for one in daemon.asked:
            self.assertEqual(one.params["labels"], {"component": "planner", "project": "p"})
            self.assertEqual((one.params["lane"], one.params["model"]), ("normal", "m"))

    def test_metacognition_and_memory_run_theirs(self):
        daemon = self.daemon(**{"prompts.run": [parsed(a=1)]})
        client = self.client()
        reviewer = Metacognition(client)
        reviewer.critique_plan(PLAN, "known")
        reviewer.suggest_revisions(PLAN, ["i"])
        reviewer.generate_explanation("d", "r")
        self.assertEqual(reviewer.assess_confidence(PLAN, ["e"]), {"a": 1})
        memory = Memory(client)
        memory.summarize(["a", "b"])
        memory.extract("t")
        memory.consolidate(("a", "b"))
        self.assertEqual(
            self.asked(daemon),
            [
                ("metacognition_review", {"plan": PLAN, "context": "known"}),
                ("revision_suggestions", {"plan": PLAN, "issues": ["i"]}),
                ("explanation", {"decision": "d", "reasoning": "r"}),
                ("confidence", {"plan": PLAN, "evidence": ["e"]}),
                ("memory_summary", {"texts": ["a", "b"]}),
                ("fact_extraction", {"text": "t"}),
                ("memory_consolidation", {"memories": ["a", "b"]}),
            ],
        )
        self.assertEqual(daemon.asked[0].params["labels"], {"component": "metacognition"})
        self.assertEqual(daemon.asked[6].params["lane"], "background")
        self.assertEqual(len(memory.embed(["a", "b"])), 2)
        self.assertEqual(list(memory.embed_query("a")), list(memory.embed("a")[0]))
        lanes = [one.params["lane"] for one in daemon.asked[7:]]
        self.assertEqual(lanes, ["background", "interactive", "background"])
        self.assertEqual(daemon.asked[7].params["labels"], {"component": "memory"})

    def test_a_site_may_name_templates_of_its_own(self):
        daemon = self.daemon(**{"prompts.run": [parsed(facts=[])]})
        Memory(self.client(), templates={"fact_extraction": "facts@2"}).extract("t")
        self.assertEqual(daemon.asked[0].params["name"], "facts@2")

    def test_nothing_is_made_up_where_an_answer_is_missing(self):
        daemon = self.daemon()
        client = self.client()
        for answer, error in (
            (ProviderUnavailable("all routes failed"), ProviderUnavailable),
            (InvalidOutput("no JSON"), InvalidOutput),
            (reply("words alone"), InvalidOutput),
            (reply("[]", parsed=[]), InvalidOutput),
        ):
            daemon.reply("prompts.run", answer)
            for ask in (
                lambda: Planner(client).generate_plan("g"),
                lambda: Metacognition(client).assess_confidence(PLAN, ["e"]),
                lambda: Memory(client).summarize(["t"]),
                lambda: SafetyGate(client).evaluate("a"),
            ):
                with self.assertRaises(error):
                    ask()
        daemon.reply("embed", InvalidParams("no embeddings here"))
        with self.assertRaises(InvalidParams):
            Memory(client).embed(["a"])

    def test_what_says_nothing_is_not_asked(self):
        daemon = self.daemon()
        client = self.client()
        for ask in (
            lambda: Planner(client).generate_plan("  "),
            lambda: Planner(client).select_tool("t", []),
            lambda: Metacognition(client).critique_plan(None),
            lambda: Memory(client).summarize([]),
            lambda: Memory(client).embed_query(""),
            lambda: SafetyGate(client).evaluate(""),
            lambda: SafetyGate(client, rules=[]),
        ):
            with self.assertRaises(ValueError):
                ask()
        self.assertEqual(daemon.asked, [])

    def test_a_tool_that_there_is_not_is_no_choice(self):
        daemon = self.daemon(**{"prompts.run": [parsed(tool="bomb", parameters={}, reason="")]})
        with self.assertRaisesRegex(InvalidOutput, "bomb"):
            Planner(self.client()).select_tool("t", ["calc"])
        daemon.reply("prompts.run", parsed(tool="none", parameters={}, reason=""))
        self.assertEqual(Planner(self.client()).select_tool("t", ["calc"])["tool"], "none")


class Gate(Case):
    def test_only_a_verdict_that_allows_is_true(self):
        daemon = self.daemon()
        gate = SafetyGate(self.client(), rules=["R1: no harm"])
        for decision in ("ALLOW", "DENY", "ESCALATE"):
            daemon.reply(
                "prompts.run", parsed(decision=decision, reasons=["r"], rules_cited=["R1"])
            )
            verdict = gate.evaluate({"do": "it"}, "context")
            self.assertEqual((verdict.decision, bool(verdict)), (decision, decision == "ALLOW"))
            self.assertEqual((verdict.reasons, verdict.rules_cited), (["r"], ["R1"]))
        sent = daemon.asked[0].params
        self.assertEqual(sent["name"], "ethical_review")
        self.assertEqual(
            sent["variables"],
            {"proposal": {"do": "it"}, "context": "context", "rules": ["R1: no harm"]},
        )
        self.assertEqual((sent["fallback"], sent["lane"]), (False, "interactive"))
        self.assertEqual((sent["timeout_s"], sent["labels"]), (5.0, {"component": "safety"}))

    def test_it_fails_closed(self):
        daemon = self.daemon()
        gate = SafetyGate(self.client(), timeout_s=0.2)
        for answer in (parsed(decision="MAYBE"), parsed(reasons=[]), parsed(decision=True)):
            daemon.reply("prompts.run", answer)
            with self.assertRaisesRegex(InvalidOutput, "no verdict"):
                gate.evaluate("a")
        daemon.reply("prompts.run", Hold())
        with self.assertRaises(Timeout):
            gate.evaluate("a")

    def test_it_never_falls_back(self):
        with self.assertRaisesRegex(TypeError, "never falls back"):
            SafetyGate(self.client(self.daemon()), fallback=["other"])

    def test_risks_are_weighed_too(self):
        daemon = self.daemon(**{"prompts.run": [parsed(risks=[], reversible=True, level="low")]})
        self.assertEqual(SafetyGate(self.client()).assess_risk("a")["level"], "low")
        self.assertEqual(daemon.asked[0].params["name"], "action_risk")


class Documentation(unittest.TestCase):
    def test_its_documentation_says_what_it_does(self):
        self.assertEqual(doctest.testmod(sutler.components).failed, 0)


if __name__ == "__main__":
    unittest.main()
