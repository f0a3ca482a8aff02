"""Which settings this version acts on. The one place to change when a part begins to work.

Every setting is understood and checked from now on, so that a file written for a later
version loads; one that is not in force says so as a warning whenever a file uses it. The
longest path of this table that leads to a setting decides; ``*`` stands for any name.
Settings with no entry are in force.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from sutlerd.domain.record import record


@record
class Standing:
    """``without`` says what it means for the operator as long as it is not in force."""

    in_force: bool
    without: str
    loud: bool = False


IN_FORCE: Final[Mapping[str, Standing]] = MappingProxyType({})

#: Dialects that have code behind them; a provider of another one is off, and says so.
SERVED_DIALECTS: Final = frozenset({"anthropic", "openai_chat", "ollama", "voyage"})
