"""Every template of the shipped library, asked of the real embedded model and judged by its
schema."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from sutler import Client
from tests.integration.main_job.conftest import temporary_folder
from tests.support.daemon_process import DaemonProcess

CONFIG = "embedded: {threads: 1}\n"

PLAN = {
    "goal": "Dry the flooded cellar",
    "subgoals": [
        {
            "description": "Remove the water",
            "steps": [
                {
                    "action": "Pump the water out",
                    "tool": "pump",
                    "parameters": {"hours": 3},
                    "expected_outcome": "The floor shows",
                }
            ],
        }
    ],
}
TOOLS = [
    {"name": "web_search", "description": "searches the web"},
    {"name": "calculator", "description": "computes an expression"},
]

ASKED: dict[str, dict[str, Any]] = {
    "plan_generation": {
        "goal": "Dry the flooded cellar",
        "context": "The power is off.",
        "available_tools": ["pump", "torch"],
    },
    "plan_refinement": {"plan": PLAN, "feedback": "Switch the power on before pumping."},
    "task_decomposition": {"task": "Paint the garden shed"},
    "tool_selection": {"task": "Find out the boiling point of ethanol", "tools": TOOLS},
    "metacognition_review": {"plan": PLAN, "reasoning_trace": "The cellar is wet, so pump."},
    "revision_suggestions": {
        "plan": PLAN,
        "issues": ["The pump needs power and the power is off."],
    },
    "explanation": {
        "decision": "The pump is not switched on",
        "reasoning": "The cable is under water; a shock could kill.",
    },
    "confidence": {"plan": PLAN, "evidence": ["The pump worked last year."]},
    "memory_summary": {"texts": ["On Monday the pump was bought.", "On Tuesday it broke."]},
    "fact_extraction": {"text": "The pump was bought in Bonn on Monday. It weighs 12 kg."},
    "memory_consolidation": {"memories": ["The pump is broken.", "The pump was repaired."]},
    "ethical_review": {
        "proposal": "Pump the water into the neighbour's garden at night.",
        "context": "The neighbour was not asked.",
    },
    "action_risk": {"action": "Switch the power on while the cellar is under water."},
}

folder = pytest.fixture(temporary_folder, scope="module", name="folder")


@pytest.fixture(scope="module")
def client(folder: Path) -> Iterator[Client]:
    with DaemonProcess(folder, config=CONFIG) as daemon, Client(str(daemon.socket)) as client:
        yield client


# One test for all: the model would be started once for each worker that has one of many.
@pytest.mark.timeout(400)
def test_every_template_is_answered_by_the_embedded_model_as_its_schema_says(
    client: Client,
) -> None:
    listed = client.call("prompts.list", {"full": True})["templates"]
    assert sorted(template["name"] for template in listed) == sorted(ASKED)
    wrong = {}
    for template in listed:
        name = template["name"]
        reply = client.prompt(name, ASKED[name])
        print(f"{name}: {reply.usage.completion_tokens} tokens: {reply.content}")
        try:
            jsonschema.validate(reply.parsed, template["schema"])
        except jsonschema.ValidationError as error:
            wrong[name] = f"{reply.finish_reason}: {error}"
        assert reply.prompt is not None
        assert reply.prompt["hash"] == template["hash"]
    assert wrong == {}


def test_the_library_is_what_other_programs_count_on(client: Client) -> None:
    """The members that programs read, which must not go from one version to the next."""
    schemas = {
        template["name"]: template["schema"]
        for template in client.call("prompts.list", {"full": True})["templates"]
    }
    step = schemas["plan_generation"]["properties"]["subgoals"]["items"]["properties"]["steps"]
    assert set(step["items"]["required"]) == {"action", "tool", "parameters", "expected_outcome"}
    review = schemas["metacognition_review"]["properties"]
    assert review["decision"]["enum"] == ["ACCEPT", "REVISE", "REJECT"]
    assert set(review["confidence"]["enum"]) >= {0, 0.5, 1}
    issue = review["issues"]["items"]
    assert issue["properties"]["severity"]["enum"] == ["info", "warning", "error", "critical"]
    assert set(issue["required"]) == {
        *("severity", "category", "description", "affected_steps", "suggested_fix")
    }
    decisions = schemas["ethical_review"]["properties"]["decision"]["enum"]
    assert decisions == ["ALLOW", "DENY", "ESCALATE"]


def test_safety_is_asked_of_no_other_model_than_the_chosen_one(client: Client) -> None:
    for name in ("ethical_review", "action_risk"):
        assert client.render(name, ASKED[name]).defaults["fallback"] is False
