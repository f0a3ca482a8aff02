"""Whatever the served description allows, and what it does not, gets a documented answer."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import hypothesis
import pytest
import schemathesis
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from sutlerd.http.groups import all_doors
from sutlerd.http.house import House
from sutlerd.http.openapi import description
from tests.integration.faults.rig import DIMENSION, Rig
from tests.integration.http.rig import http_rig, new_token, over_unix, port_of

EXAMPLES = 60 if os.environ.get("SUTLER_LONG") else 8
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]


def _for_the_scripted_provider(value: Any) -> Any:
    """Have what is there asked for, mostly: all else would be refused at once."""
    if isinstance(value, dict) and isinstance(value.get("model"), str) and len(value["model"]) > 1:
        if "dimensions" in value:
            value = {**value, "dimensions": DIMENSION}
        embeds = "input" in value and "stream" not in value and "store" not in value
        return {**value, "model": "test-embed" if embeds else "test-model"}
    return value


#: All but what never ends.
schema = schemathesis.openapi.from_dict(description()).exclude(path="/events")


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[Rig, str]]:
    with tempfile.TemporaryDirectory(prefix="sf-") as folder, http_rig(Path(folder)) as rig:
        yield rig, new_token(rig.daemon)


@schema.parametrize()
@hypothesis.settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(hypothesis.HealthCheck),
)
def test_every_answer_is_as_described(case: schemathesis.Case, served: tuple[Rig, str]) -> None:
    rig, token = served
    case.body = _for_the_scripted_provider(case.body)
    response = case.call(
        base_url=f"http://127.0.0.1:{port_of(rig.daemon)}",
        headers={"Authorization": f"Bearer {token}"},
        timeout=20,
    )
    case.validate_response(response, checks=CHECKS)


def test_the_description_that_is_served_covers_every_route(served: tuple[Rig, str]) -> None:
    rig, _ = served
    told = over_unix(rig.daemon, "GET", "/openapi.json").json
    assert told == description()
    for path in told["paths"]:
        for method, body in (("HEAD", None), ("POST", {})):
            reply = over_unix(rig.daemon, method, path, body)
            described = {"HEAD": "get", "POST": "post"}[method] in told["paths"][path]
            assert (reply.status != 405) == described, (method, path)


def test_every_route_that_is_served_is_described() -> None:
    # Routes are made before anything is asked of the house.
    served = {
        (door.path + "{model}" * door.path.endswith("models/"), door.method.lower())
        for door in all_doors(cast(House, None))
    }
    paths = description()["paths"]
    assert served == {(path, method) for path, methods in paths.items() for method in methods}
