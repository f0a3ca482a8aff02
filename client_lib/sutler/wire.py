"""The wire contract, version 1: what the client and the daemon must agree on, and nothing else.

Both distributions import this module. Only constants and pure functions live here, on
Python 3.8 and the standard library; it is imported by thousands of ranks, so it imports
next to nothing itself.
"""

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import List, Mapping

PROTOCOL_VERSION = 1

MAX_LINE_BYTES = 16 * 1024 * 1024
MAX_NESTING = 64
MAX_ID_BYTES = 128
MAX_ID_INT = 2**63 - 1
MIN_ID_INT = -(2**63)

#: ``sun_path`` holds 108 bytes, the last one a NUL.
MAX_SOCKET_PATH_BYTES = 107

#: data.type -> (code, retryable unless the error says otherwise). The one table of errors.
ERRORS = {
    "parse_error": (-32700, False),
    "invalid_request": (-32600, False),
    "method_not_found": (-32601, False),
    "invalid_params": (-32602, False),
    "internal_error": (-32603, False),
    "budget_exceeded": (-32001, False),
    "rate_limited": (-32002, True),
    "provider_error": (-32003, False),
    "provider_unavailable": (-32004, True),
    "timeout": (-32005, True),
    "cancelled": (-32006, False),
    "overloaded": (-32007, True),
    "access_denied": (-32008, False),
    "cache_miss": (-32009, False),
    "invalid_output": (-32010, False),
    "shutting_down": (-32011, True),
    "price_unknown": (-32012, False),
    "context_length_exceeded": (-32013, False),
    "outcome_unknown": (-32014, False),
    "ledger_unavailable": (-32015, False),
}

LANES = ("interactive", "normal", "background")
CACHE_MODES = ("on", "off", "read_only", "write_only", "only")
FINISH_REASONS = ("stop", "length", "tool_calls", "content_filter")


def socket_candidates(environ: "Mapping[str, str]", uid: int) -> "List[str]":
    """List the places a daemon's socket may be, best first.

    ``environ`` is a mapping like ``os.environ``, ``uid`` the caller's own. An explicit
    ``SUTLER_SOCKET`` is the only candidate: a wrong one must not silently become another.
    """
    explicit = environ.get("SUTLER_SOCKET")
    if explicit:
        return [explicit]
    places = []
    runtime = environ.get("XDG_RUNTIME_DIR")
    if runtime:
        places.append(os.path.join(runtime, "sutler", "sutler.sock"))
    own = "sutler-%d" % uid
    temporary = environ.get("TMPDIR")
    if temporary:
        places.append(os.path.join(temporary, own, "sutler.sock"))
    places.append(os.path.join("/tmp", own, "sutler.sock"))
    places.append("/run/sutler/sutler.sock")
    return list(dict.fromkeys(places))
