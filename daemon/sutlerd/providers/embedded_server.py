"""The embedded model's server: llama.cpp's own HTTP server in a process of its own.

Run by the daemon as ``python -m sutlerd.providers.embedded_server``. Reads one line of JSON
from standard input (``EmbeddedChild``'s settings), answers with one line on standard output,
``{"address": "http://127.0.0.1:PORT"}`` or ``{"error": "..."}``, and serves until standard
input ends. A crash of the C++ code in here is a restart there.

Nothing of the daemon but its parent watch is imported here: this process holds no secret but
its own API key, and starts in the time that loading the weights takes.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from pathlib import Path
from typing import Any

from sutlerd.system.hardening import harden
from sutlerd.system.parent_watch import die_with_parent, ignore_terminal

_MAX_SETTINGS_BYTES = 64 * 1024
#: Tokens of one batch, and so of one text that is embedded. A batch's results take 200 KB a
#: token, and a batch in work keeps the other slots waiting.
MAX_BATCH_TOKENS = 2048
#: llama.cpp's levels. Errors only: warnings repeat users' words.
_ERRORS_ONLY = 1


def main() -> None:
    """Serve; does not return."""
    answers = _take_standard_output()
    for warning in harden().warnings:
        print(warning, file=sys.stderr)  # noqa: T201  our parent keeps it
    settings = json.loads(_read_line(0))
    ignore_terminal()
    die_with_parent(settings["parent_pid"], 0)
    _be_first_to_go()
    try:
        server = _serve(settings)
    except ImportError as error:
        _answer(answers, {"error": f"llama.cpp cannot be loaded: {error}"})
    except RuntimeError as error:
        _answer(answers, {"error": str(error)})
        # In good order: llama.cpp's log, which has the reason, is written by a thread of its own.
        sys.exit(1)
    else:
        _answer(answers, {"address": server.listening_address})
        threading.Event().wait()
    # Taking the server down in good order can hang; there is nothing to lose.
    os._exit(1)


def _take_standard_output() -> int:
    """Give a descriptor for the answer; what C++ code prints goes to standard error."""
    answers = os.dup(1)
    os.dup2(2, 1)
    return answers


def _read_line(descriptor: int) -> bytes:
    """Read up to the first newline, byte by byte past no buffer, since more may follow."""
    line = b""
    while not line.endswith(b"\n"):
        byte = os.read(descriptor, 1)
        if not byte or len(line) >= _MAX_SETTINGS_BYTES:
            sys.exit("no settings on standard input: this module is run by sutlerd alone")
        line += byte
    return line


def _answer(descriptor: int, answer: dict[str, str]) -> None:
    os.write(descriptor, json.dumps(answer).encode() + b"\n")
    os.close(descriptor)


def _be_first_to_go() -> None:
    """When memory runs out, lose this process, which can be started again, not the daemon."""
    try:
        Path("/proc/self/oom_score_adj").write_text("500")
    except OSError as error:
        print(f"oom_score_adj cannot be set: {error}", file=sys.stderr)  # noqa: T201


def _serve(settings: dict[str, Any]) -> Any:
    """Load the weights and start serving; raises RuntimeError, with llama.cpp's reasons on
    standard error, or ImportError."""
    # A failed assertion shall end the process, not call a debugger first.
    os.environ["GGML_NO_BACKTRACE"] = "1"
    import xllamacpp  # type: ignore[import-untyped]  # it has no types

    params = xllamacpp.CommonParams()
    params.model.path = settings["model_path"]
    params.model_alias = {settings["model"]}
    params.offline = True
    params.ui = False
    params.verbosity = _ERRORS_ONLY
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.api_keys = [settings["api_key"]]
    params.endpoint_slots = False
    # Who waits for a first token behind long prompts must not take the silence for a hang.
    params.sse_ping_interval = 10

    params.n_parallel = settings["slots"]
    params.n_ctx = settings["slots"] * settings["context_tokens"]
    params.fit_params = False
    params.n_batch = params.n_ubatch = _batch_tokens(settings["context_tokens"], settings["slots"])
    params.cpuparams.n_threads = settings["threads"]
    params.cpuparams_batch.n_threads = settings["threads"]

    # Answers at temperature 0 must not depend on what was asked before.
    params.cache_prompt = False
    params.cache_ram_mib = 0
    params.cache_idle_slots = False
    params.n_ctx_checkpoints = 0

    params.use_jinja = True
    params.embedding = True
    params.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    return xllamacpp.Server(params)


def _batch_tokens(context_tokens: int, slots: int) -> int:
    """Give the size of a batch: a multiple of the slots, or mean pooling ends the process."""
    wanted = min(context_tokens, MAX_BATCH_TOKENS)
    return -(-wanted // slots) * slots


if __name__ == "__main__":
    main()
