"""What a model is told in words where its provider has no better means. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import orjson

JSON_ALONE: Final = "Answer with JSON alone."


def schema_in_words(schema: Mapping[str, Any]) -> str:
    """Ask for JSON of a shape; equal schemas give equal words."""
    spelt = orjson.dumps(schema, option=orjson.OPT_SORT_KEYS).decode()
    return f"Answer with JSON alone that fits this JSON Schema: {spelt}"
