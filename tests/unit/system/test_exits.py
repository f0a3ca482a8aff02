"""Exit codes are one table."""

from __future__ import annotations

from sutlerd.system.exits import SENTENCES, CannotStart, Exit


def test_every_exit_code_has_one_sentence() -> None:
    assert set(SENTENCES) == set(Exit)
    for code in Exit:
        assert code.sentence.endswith(".")
    assert len(set(SENTENCES.values())) == len(Exit)


def test_a_refused_start_says_how_it_ends() -> None:
    refusal = CannotStart(Exit.CONFIGURATION, "llm.cache: unknown")
    assert refusal.exit_code == 78
    assert refusal.message == str(refusal) == "llm.cache: unknown"
