"""`sutler embed`, `count-tokens`, `status`, `models`, `ping`, `cache`."""

from __future__ import annotations

import json
from pathlib import Path

from tests.integration.cli.command import AtTerminal, sutler
from tests.integration.cli.tiny_daemon import STATUS, TinyDaemon


def test_embed_gives_a_line_a_text(daemon: TinyDaemon) -> None:
    done = sutler("embed", "a", "bcd")
    assert [json.loads(line) for line in done.stdout.splitlines()] == [
        {"index": 0, "embedding": [0.1, 1.0]},
        {"index": 1, "embedding": [0.1, 3.0]},
    ]


def test_embed_takes_lines_in_pieces_that_fit_a_request(daemon: TinyDaemon, tmp_path: Path) -> None:
    texts = tmp_path / "texts"
    texts.write_text("".join("x" * (at % 9 + 1) + "\n\n" for at in range(600)))
    done = sutler("embed", "--file", str(texts), "--json", "--model", "m")
    answer = json.loads(done.stdout)
    assert len(answer["embeddings"]) == 600
    assert answer["embeddings"][10] == [0.1, 2.0]
    assert (answer["model"], answer["dimension"]) == ("m", 2)
    assert answer["usage"]["prompt_tokens"] == answer["cost_nanousd"] == 600
    assert [len(request.params["texts"]) for request in daemon.asked] == [256, 256, 88]


def test_embed_shows_a_person_a_glimpse(daemon: TinyDaemon) -> None:
    command = AtTerminal("embed", "a cat")
    assert command.end() == 0
    assert "[0.1000, 5.0000, …] 2 wide  a cat".encode() in command.screen


def test_embed_without_texts_is_a_usage_problem(daemon: TinyDaemon) -> None:
    assert sutler("embed", stdin=b"\n").returncode == 2
    assert sutler("embed", "a", "--file", "b").returncode == 2


def test_count_tokens_prints_a_number(daemon: TinyDaemon, tmp_path: Path) -> None:
    assert sutler("count-tokens", "three little words").stdout == b"3\n"
    assert sutler("count-tokens", stdin=b"two words").stdout == b"2\n"
    counted = json.loads(sutler("count-tokens", "--json", "--model", "m", "one").stdout)
    assert counted == {"tokens": 1, "exact": False, "method": "words"}
    assert daemon.asked[-1].params == {"text": "one", "model": "m"}
    talk = tmp_path / "talk.json"
    talk.write_text('[{"role": "user", "content": "Hi"}]')
    assert sutler("count-tokens", "--messages", str(talk)).returncode == 0


def test_status_is_laid_out_for_a_person(daemon: TinyDaemon) -> None:
    text = sutler("status").stdout.decode()
    assert "uptime    1:02:05\n" in text
    assert "\nqueue\n  interactive  0\n  normal       3\n" in text
    assert " 1000          2  $1.50\n" in text
    assert "  size     4 KiB\n" in text
    assert "\x1b" not in text


def test_status_as_json_is_what_the_daemon_said(daemon: TinyDaemon) -> None:
    assert json.loads(sutler("status", "--json").stdout) == STATUS


def test_a_terminal_gets_titles_that_stand_out(daemon: TinyDaemon) -> None:
    command = AtTerminal("status")
    assert command.end() == 0
    assert b"\x1b[1mqueue\x1b[0m\r\n" in command.screen


def test_models_are_a_table(daemon: TinyDaemon) -> None:
    lines = sutler("models").stdout.decode().splitlines()
    assert lines == [
        "id     provider  default  available",
        "small  embedded  yes      yes",
        "large  groq      no       no",
    ]
    assert len(json.loads(sutler("models", "--json").stdout)["models"]) == 2


def test_ping_says_that_the_daemon_answers(daemon: TinyDaemon) -> None:
    done = sutler("ping", "-c", "3")
    assert done.returncode == 0
    assert done.stdout.startswith(b"sutlerd 9.9 answers in ")
    assert sum(request.method == "ping" for request in daemon.asked) == 3
    assert json.loads(sutler("ping", "--json").stdout)["version"] == "9.9"


def test_the_cache_is_shown_and_emptied(daemon: TinyDaemon) -> None:
    assert b"entries  12\n" in sutler("cache", "stats").stdout
    assert json.loads(sutler("cache", "clear", "--json").stdout) == {"removed": 12}
    assert sutler("cache", "clear").stdout == b"removed  12\n"
