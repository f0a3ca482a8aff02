"""A real Prometheus scrapes a daemon, and understands every expression that is made for it."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from sutlerd.telemetry.alert_rules import alert_rules
from sutlerd.telemetry.dashboard import expressions
from tests.integration.http.rig import http_rig, new_token, port_of

needs_prometheus = pytest.mark.skipif(
    shutil.which("prometheus") is None, reason="prometheus is not installed"
)
#: On a busy machine it takes its time to start.
WITHIN_S = 80
_CONFIG = """
global: {{scrape_interval: 1s, evaluation_interval: 1s}}
rule_files: ["alerts.yaml"]
scrape_configs:
  - job_name: sutler
    authorization: {{credentials: "{token}"}}
    static_configs: [{{targets: ["127.0.0.1:{port}"]}}]
"""


def printed(command: str) -> str:
    made = subprocess.run(
        [sys.executable, "-m", "sutlerd", command], capture_output=True, text=True, timeout=60
    )
    assert (made.returncode, made.stderr) == (0, "")
    return made.stdout


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Prometheus:
    def __init__(self, port: int) -> None:
        self._base = f"http://127.0.0.1:{port}/api/v1"

    def get(self, path: str, **query: str) -> Any:
        url = f"{self._base}/{path}?{urllib.parse.urlencode(query)}"
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{query}: {error.read().decode()}") from None

    def wait_for(self, query: str) -> list[Any]:
        found: list[Any] = self.wait_until(lambda: self.get("query", query=query)["result"], query)
        return found

    def rules(self) -> list[Any]:
        """Give all rules once each was evaluated."""

        def evaluated() -> list[Any]:
            groups = self.get("rules")["groups"]
            rules = [rule for group in groups for rule in group["rules"]]
            return rules if all(rule["health"] != "unknown" for rule in rules) else []

        found: list[Any] = self.wait_until(evaluated, "rules")
        return found

    def wait_until(self, given: Callable[[], Any], what: str) -> Any:
        """Ask until there is something."""
        until_s = time.monotonic() + WITHIN_S
        while time.monotonic() < until_s:
            # Until it is ready it answers 503.
            with contextlib.suppress(OSError, AssertionError):
                if found := given():
                    return found
            time.sleep(0.1)
        raise AssertionError(f"Prometheus has nothing for {what}")


@pytest.fixture
def prometheus(folder: Path) -> Iterator[Prometheus]:
    with http_rig(folder / "d") as rig:
        (folder / "alerts.yaml").write_text(printed("alerts"))
        config = _CONFIG.format(token=new_token(rig.daemon), port=port_of(rig.daemon))
        (folder / "prometheus.yml").write_text(config)
        rig.daemon.result("complete", prompt="measured", temperature=0, stream=True)
        port = _free_port()
        with (folder / "prometheus.log").open("wb") as log:
            process = subprocess.Popen(
                [
                    "prometheus",
                    f"--config.file={folder / 'prometheus.yml'}",
                    f"--storage.tsdb.path={folder / 'data'}",
                    f"--web.listen-address=127.0.0.1:{port}",
                ],
                stdout=log,
                stderr=log,
            )
        try:
            yield Prometheus(port)
        finally:
            # Nothing of it is kept: it need not write its data down first.
            process.kill()
            process.wait(30)


@needs_prometheus
@pytest.mark.timeout(3 * WITHIN_S)
def test_every_expression_of_dashboard_and_alerts_runs_in_prometheus(
    prometheus: Prometheus,
) -> None:
    found = prometheus.wait_for('llm_requests_total{status="ok"}')
    assert found[0]["metric"]["provider"] == "scripted"
    for expression in expressions():
        prometheus.get("query", query=expression.replace("$__rate_interval", "1m"))
    rules = prometheus.rules()
    assert {rule["name"] for rule in rules} >= {"SutlerBudgetSpent", "SutlerCircuitOpen"}
    assert {rule["health"] for rule in rules} == {"ok"}, rules


@needs_prometheus
def test_promtool_accepts_the_alert_rules(folder: Path) -> None:
    rules = folder / "alerts.yaml"
    rules.write_text(printed("alerts"))
    checked = subprocess.run(
        ["promtool", "check", "rules", str(rules)], capture_output=True, text=True, timeout=60
    )
    assert checked.returncode == 0, checked.stderr
    assert f"{len(alert_rules()['groups'][0]['rules'])} rules found" in checked.stdout


def test_the_dashboard_is_json_with_a_panel_for_each_thing_to_watch() -> None:
    board = json.loads(printed("grafana"))
    panels = board["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels) > 10
    places = {(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels}
    assert len(places) == len(panels)
    assert all(target["expr"] for panel in panels for target in panel["targets"])


def test_every_alert_says_how_to_mend_it() -> None:
    rules = yaml.safe_load(printed("alerts"))["groups"][0]["rules"]
    assert all(rule["annotations"]["description"] for rule in rules)
