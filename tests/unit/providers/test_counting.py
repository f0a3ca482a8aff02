"""Counts made on this machine, with ranks that come from a package."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator

import pytest

from sutlerd.providers import counting_tiktoken
from sutlerd.providers.contract import TokenCount
from sutlerd.providers.counting import LocalCounter, tokenizer_of
from sutlerd.providers.counting_tiktoken import LONGEST_RUN, NoTokenizer, Tokenizers
from sutlerd.providers.dialect import ModelTraits
from tests.contract.harness import Events

HELLO = [{"role": "user", "content": "hello world"}]
PLAIN = ModelTraits()


@pytest.fixture(scope="module")
def tokenizers() -> Tokenizers:
    return Tokenizers()


@pytest.fixture
def counter(tokenizers: Tokenizers) -> Iterator[LocalCounter]:
    log = Events()
    yield LocalCounter(log=log, tokenizers=tokenizers)
    assert log.told == []


@pytest.mark.parametrize(
    ("model", "text", "count"),
    [
        ("gpt-4o", "hello world", TokenCount(tokens=2, exact=True, method="tiktoken:o200k_base")),
        ("gpt-4", "hello world", TokenCount(tokens=2, exact=True, method="tiktoken:cl100k_base")),
        (
            "ft:gpt-4o-mini:me::1",
            "tiktoken is great!",
            TokenCount(tokens=6, exact=True, method="tiktoken:o200k_base"),
        ),
        (
            "openai/gpt-oss-20b",
            "hello",
            TokenCount(tokens=1, exact=True, method="tiktoken:o200k_harmony"),
        ),
        (
            "text-embedding-3-small",
            "",
            TokenCount(tokens=0, exact=True, method="tiktoken:cl100k_base"),
        ),
    ],
)
async def test_a_text_is_counted_with_the_model_s_own_tokenizer(
    counter: LocalCounter, model: str, text: str, count: TokenCount
) -> None:
    assert await counter.count(text, model, PLAIN, openai=False) == count


async def test_a_prompt_has_a_template_around_it(counter: LocalCounter) -> None:
    count = await counter.count(HELLO, "gpt-4o", PLAIN, openai=True)
    assert (count.tokens, count.exact) == (9, True)
    # A documented example of the vendor's: 129 tokens for the older tokenizer, 124 for the newer.
    example = [
        {
            "role": "system",
            "content": "You are a helpful, pattern-following assistant that translates "
            "corporate jargon into plain English.",
        },
        *(
            {"role": "system", "name": name, "content": content}
            for name, content in (
                ("example_user", "New synergies will help drive top-line growth."),
                ("example_assistant", "Things working well together will increase revenue."),
                (
                    "example_user",
                    "Let's circle back when we have more bandwidth to touch base on "
                    "opportunities for increased leverage.",
                ),
                (
                    "example_assistant",
                    "Let's talk later when we're less busy about how to do better.",
                ),
            )
        ),
        {
            "role": "user",
            "content": "This late pivot means we don't have time to boil the ocean for the "
            "client deliverable.",
        },
    ]
    old = await counter.count(example, "gpt-4-0613", PLAIN, openai=True)
    new = await counter.count(example, "gpt-4o", PLAIN, openai=True)
    assert (old.tokens, new.tokens) == (129, 124)


@pytest.mark.parametrize(
    "message",
    [
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "image_url"}]},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": "{}"}}],
        },
    ],
)
async def test_what_only_the_vendor_knows_makes_a_count_an_estimate(
    counter: LocalCounter, message: dict[str, object]
) -> None:
    count = await counter.count([message], "gpt-4o", PLAIN, openai=True)
    assert not count.exact
    assert count.tokens > 10


async def test_models_nobody_knows_are_estimated_and_the_estimate_says_how(
    counter: LocalCounter,
) -> None:
    newest = await counter.count("hello world", "gpt-9", PLAIN, openai=True)
    assert newest == TokenCount(tokens=2, exact=False, method="estimate: tiktoken:o200k_base × 1")
    other = ModelTraits(estimate_factor=1.5)
    claude = await counter.count("hello world", "claude-x", other, openai=False)
    assert claude == TokenCount(tokens=3, exact=False, method="estimate: tiktoken:o200k_base × 1.5")
    llama = await counter.count("hello world", "llama3", PLAIN, openai=False)
    assert (llama.exact, llama.method) == (False, "estimate: 1.25 tokens for 4 bytes")


async def test_a_control_word_in_a_text_is_text(counter: LocalCounter) -> None:
    count = await counter.count("<|endoftext|>", "gpt-4o", PLAIN, openai=True)
    assert count.tokens > 1


@pytest.mark.parametrize("character", ["a", " ", "é", "!"])
async def test_endless_runs_are_counted_in_pieces_and_not_called_exact(
    counter: LocalCounter, character: str
) -> None:
    endless = "begin " + character * (LONGEST_RUN * 3 + 5) + " end"
    count = await counter.count(endless, "gpt-4o", PLAIN, openai=True)
    assert not count.exact
    assert 0 < count.tokens < len(endless) * 2
    whole = await counter.count("word " * 50_000, "gpt-4o", PLAIN, openai=True)
    assert (whole.tokens, whole.exact) == (50_001, True)


def test_ranks_are_loaded_off_the_net_s_way_and_the_environment_is_left_as_it_was(
    monkeypatch: pytest.MonkeyPatch, tokenizers: Tokenizers
) -> None:
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", "/nowhere")
    tokenizers.load("cl100k_base")
    Tokenizers().load("o200k_base")
    assert os.environ["TIKTOKEN_CACHE_DIR"] == "/nowhere"
    assert tokenizers.has("o200k_harmony")
    assert not tokenizers.has("claude")
    with pytest.raises(NoTokenizer, match="no tokenizer claude"):
        tokenizers.load("claude")


async def test_ranks_are_loaded_on_another_thread(tokenizers: Tokenizers) -> None:
    seen: list[bool] = []

    class Watched(Tokenizers):
        def load(self, name: str) -> None:
            seen.append(threading.current_thread() is threading.main_thread())
            super().load(name)

    await LocalCounter(log=Events(), tokenizers=Watched()).count("a", "gpt-4o", PLAIN, openai=True)
    assert seen == [False]


async def test_ranks_that_are_not_the_right_ones_are_told_once_and_estimates_go_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    packed, cached_as, _ = counting_tiktoken._RANKS["o200k_base"]
    monkeypatch.setitem(counting_tiktoken._RANKS, "o200k_base", (packed, cached_as, "0" * 64))
    log = Events()
    counter = LocalCounter(log=log)
    for _ in range(2):
        count = await counter.count(HELLO, "gpt-4o", PLAIN, openai=True)
        assert count.method.startswith("estimate")
    assert [name for _, name, _ in log.told] == ["tokenizer_missing"]


def test_the_tokenizer_is_told_by_the_name() -> None:
    told = {
        name: tokenizer_of(name)
        for name in ("o3-mini", "gpt-5.4", "gpt-4.1-nano", "gpt-4-turbo", "llama3.2", "gpt-6-sol")
    }
    assert told == {
        "o3-mini": "o200k_base",
        "gpt-5.4": "o200k_base",
        "gpt-4.1-nano": "o200k_base",
        "gpt-4-turbo": "cl100k_base",
        "llama3.2": None,
        "gpt-6-sol": None,
    }
