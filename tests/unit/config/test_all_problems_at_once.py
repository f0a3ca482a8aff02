"""Everything that is wrong is told in one go, each with file, line, path and way out."""

from __future__ import annotations

from pathlib import Path

import pytest

BAD = """\
llm:
  default_provider: opnai
  default_model: no
  timeout_secnds: 60
  max_retries: "3"
  max_retries: 4
  cache:
    backend: reddis
    ttl_seconds: -1
  providers:
    openai:
      api_key: sk-neighbour-of-a-fault
      base_url: "not an address"
      models: gpt-4o
    mine:
      default_model: m
    local:
      kind: openai_compatble
  budget:
    enabled: yes
    timezone: Europe/Berlln
    daily_limit_usd: "100"
daemon:
  socket_mode: 600
  log_level: 1e3
  drain_s: true
acces:
  users: [a]
limits:
  connections: 0
socket: /run/x
access:
  users: ["${NOBODY}"]
  operators: {users: [1.5]}
prompts:
  folders: [relative, "${X"]
http: !!python/object/apply:os.system [id]
"""

EXPECTED = [
    (2, "llm.default_provider", "did you mean 'openai'"),
    (3, "llm.default_model", "must be text"),
    (4, "llm.timeout_secnds", "did you mean 'timeout_seconds'"),
    (5, "llm.max_retries", "must be a whole number"),
    (6, "llm.max_retries", "duplicate key 'max_retries', first on line 5"),
    (8, "llm.cache.backend", "did you mean 'redis'"),
    (9, "llm.cache.ttl_seconds", "must be at least 0"),
    (13, "llm.providers.openai.base_url", "must be an address"),
    (14, "llm.providers.openai.models", "must be a list"),
    (15, "llm.providers.mine.kind", "is missing"),
    (18, "llm.providers.local.kind", "did you mean 'openai_compatible'"),
    (21, "llm.budget.timezone", "did you mean 'Europe/Berlin'"),
    (22, "llm.budget.daily_limit_usd", "must be an amount in dollars"),
    (24, "daemon.socket_mode", "must be text"),
    (25, "daemon.log_level", "must be 'debug'"),
    (26, "daemon.drain_s", "must be a number"),
    (27, "acces", "did you mean 'access'"),
    (30, "limits.connections", "must be at least 1"),
    (31, "socket", "did you mean 'daemon.socket'"),
    (33, "access.users[0]", "$NOBODY is not set"),
    (34, "access.operators.users[0]", "must be a name or a number"),
    (36, "prompts.folders[0]", "must be an absolute path"),
    (36, "prompts.folders[1]", "'${' begins no"),
    (37, "http", "unknown tag"),
    (37, "http", "must be a group of settings"),
]


@pytest.mark.fault("O15")
@pytest.mark.fault("X16")
def test_ten_faults_and_more_are_told_at_once_each_with_its_line(problems) -> None:
    found = problems(BAD)
    assert [(problem.line, problem.path) for problem in found] == [row[:2] for row in EXPECTED]
    for problem, (_, path, words) in zip(found, EXPECTED, strict=True):
        assert words in problem.message, path


@pytest.mark.fault("O15")
def test_no_problem_quotes_a_value_next_to_it(problems) -> None:
    assert not any("sk-neighbour" in str(problem) for problem in problems(BAD))


@pytest.mark.fault("O15")
def test_a_missing_secret_names_its_variable_and_nobodys_value(problems) -> None:
    text = """\
llm:
  providers:
    mine:
      kind: openai_compatible
      base_url: "${MY_SERVER}"
      api_key: "${MY_KEY}"
      default_model: m
      headers: {X-Key: "${OTHER}"}
"""
    found = problems(text, {"OTHER": "value-of-a-neighbour"})
    assert [(p.line, p.path, p.message) for p in found] == [
        (5, "llm.providers.mine.base_url", "$MY_SERVER is not set")
    ]


def test_a_problem_reads_as_file_line_path_and_words(problems, config_file: Path) -> None:
    (problem,) = problems("daemon:\n  drain_s: soon\n")
    assert str(problem) == f"{config_file}:2: daemon.drain_s: must be a number"


def test_a_key_full_of_control_characters_is_told_escaped(problems) -> None:
    (problem,) = problems('"a\\e[31m\\nb": 1\n')
    assert str(problem).isprintable()


def test_what_follows_from_a_wrong_kind_is_not_told_as_well(problems) -> None:
    found = problems("llm: {providers: {mine: {kind: opnai}}}")
    assert [problem.path for problem in found] == ["llm.providers.mine.kind"]


def test_numbers_that_do_not_fit_together_are_told_with_both_names(problems) -> None:
    (problem,) = problems("limits:\n  owed_pause_bytes: 1000\n")
    assert problem.line == 2
    assert problem.message == (
        "limits.owed_resume_bytes (262144) must be at most limits.owed_pause_bytes (1000)"
    )


@pytest.mark.parametrize(
    ("text", "path", "words"),
    [
        ("llm: {budget: {enabled: true}}", "llm.budget", "has no limit"),
        ("embedded: {enabled: false}", "embedded.enabled", "no route is left"),
        ("llm: {rate_limits: {opnai: {}}}", "llm.rate_limits.opnai", "no provider 'opnai'"),
        ("llm: {fallback_providers: [x]}", "llm.fallback_providers[0]", "no provider 'x'"),
        ("llm: {providers: {vllm: {}}}", "llm.providers.vllm.default_model", "name the model"),
        ("- a", "", "must be a mapping"),
        ("just text", "", "must be a mapping"),
        ("a: 1\n---\nb: 2\n", "", "a second document"),
    ],
)
def test_what_cannot_work_is_told(problems, text: str, path: str, words: str) -> None:
    found = problems(text)
    assert any(problem.path == path and words in problem.message for problem in found), found


@pytest.mark.fault("T3")
@pytest.mark.parametrize("zone", ["Mars/Olympus", "../../etc/passwd", "America", "''", "/etc"])
def test_an_unknown_time_zone_is_an_error_at_start(problems, zone: str) -> None:
    (problem,) = problems(f"llm: {{budget: {{timezone: {zone}, daily_limit_usd: 1}}}}")
    assert problem.path == "llm.budget.timezone"
    assert "no such time zone" in problem.message


@pytest.mark.fault("T3")
def test_a_known_time_zone_is_taken(load_text) -> None:
    text = "llm: {budget: {timezone: America/Sao_Paulo, daily_limit_usd: 1}}"
    assert load_text(text).config.llm.budget.timezone == "America/Sao_Paulo"


def test_an_alias_of_an_alias_is_refused_because_nobody_follows_it(problems) -> None:
    found = problems("llm: {aliases: {fast: slow, slow: slow, good: embedded}}")
    assert [(each.path, "itself" in each.message) for each in found] == [
        ("llm.aliases.fast", False),
        ("llm.aliases.slow", True),
    ]
