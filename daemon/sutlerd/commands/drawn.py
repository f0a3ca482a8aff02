"""``sutlerd grafana`` and ``sutlerd alerts``: files for others' programs, made from the metrics."""

from __future__ import annotations

import json
import sys

import yaml

from sutlerd.system.exits import Exit
from sutlerd.telemetry.alert_rules import alert_rules
from sutlerd.telemetry.dashboard import dashboard


def print_dashboard() -> Exit:
    json.dump(dashboard(), sys.stdout, indent=2)
    sys.stdout.write("\n")
    return Exit.CLEAN


def print_alerts() -> Exit:
    yaml.safe_dump(alert_rules(), sys.stdout, sort_keys=False, allow_unicode=True, width=100)
    return Exit.CLEAN
