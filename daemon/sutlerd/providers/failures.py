"""How an attempt fails: the table of statuses and words, and the judgement. Pure.

Dialects judge with ``judge`` and override what their provider means differently; transports
make their failures with ``not_sent``, ``lost`` and ``unusable``. Every message made here is
fit for a caller's eyes but for secrets in a provider's own words, which the endpoint masks.
"""

from __future__ import annotations

from sutlerd.providers.contract import AttemptFailed, Outcome, RateLimitView, Verdict
from sutlerd.providers.error_words import ErrorWords, clean, read_words
from sutlerd.providers.hints import exhausted_reset_s, retry_after_s
from sutlerd.providers.transport import Response
from sutlerd.providers.wording import is_too_large_for_limit, read_too_long

_Judgement = tuple[Verdict, Outcome]
_RETRY: _Judgement = (Verdict.RETRY, Outcome.NOT_BILLED)
_REFUSED: _Judgement = (Verdict.REFUSED, Outcome.NOT_BILLED)
_CLOSED: _Judgement = (Verdict.CLOSED, Outcome.NOT_BILLED)
_MODEL_GONE: _Judgement = (Verdict.MODEL_GONE, Outcome.NOT_BILLED)
#: A gateway gave up on a call that may have run to its end.
_MAY_HAVE_RUN: _Judgement = (Verdict.RETRY, Outcome.UNKNOWN)

#: What a status means where the body says nothing better. Others: 5xx as 500, the rest as 400.
_BY_STATUS: dict[int, _Judgement] = {
    400: _REFUSED,
    401: _CLOSED,
    402: _CLOSED,
    403: _CLOSED,
    404: _MODEL_GONE,
    407: _CLOSED,
    408: _RETRY,
    409: _RETRY,
    410: _MODEL_GONE,
    425: _RETRY,
    429: _RETRY,
    498: _RETRY,  # Groq: no capacity
    500: _RETRY,
    501: _REFUSED,
    502: _RETRY,
    503: _RETRY,
    504: _MAY_HAVE_RUN,
    505: _REFUSED,
    520: _MAY_HAVE_RUN,  # 520 to 526: Cloudflare, of the server behind it
    521: _RETRY,
    522: _RETRY,
    523: _RETRY,
    524: _MAY_HAVE_RUN,
    525: _RETRY,
    526: _CLOSED,
    529: _RETRY,  # Anthropic: overloaded
}

#: Types and codes that mean that no money or no permission is left, whatever the status.
_CLOSING_WORDS = frozenset(
    {
        "insufficient_quota",
        "credit_balance_exhausted",
        "organization_spend_limit_exceeded",
        "project_spend_limit_exceeded",
        "organization_usage_limit_exceeded",
        "enforced_spend_limit_reached",
        "contract_spend_limit_reached",
        "linked_organization_spend_limit_reached",
        "billing_error",
        "billing_unavailable",
        "billing_hard_limit_reached",
        "billing_not_active",
        "organization_on_hold",
        "account_deactivated",
        "invalid_api_key",
        "authentication_error",
        "permission_error",
    }
)
_MODEL_WORDS = frozenset(
    {
        "model_not_found",
        "model_not_found_error",
        "model_decommissioned",
        "model_not_available",
        "not_found_error",
    }
)
#: Not too much, but more too soon: use may grow only so fast.
RAMP_WORDS = frozenset({"ramp_limit_exceeded", "slow_down"})
_TOO_LONG_WORDS = frozenset({"context_length_exceeded", "exceed_context_size_error"})
#: For errors that come with no status of their own, in a stream or at status 200.
_STATUS_OF_WORD = {
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "slow_down": 429,
    "tokens": 429,
    "requests": 429,
    "overloaded_error": 529,
    "server_is_overloaded": 503,
    "service_unavailable_error": 503,
    "service_unavailable": 503,
    "timeout_error": 504,
    "api_error": 500,
    "server_error": 500,
    "internal_error": 500,
    "internal_server_error": 500,
    "invalid_request_error": 400,
    "invalid_prompt": 400,
    "request_too_large": 413,
    "not_found_error": 404,
}


def judge(
    response: Response,
    *,
    words: ErrorWords | None = None,
    hint_s: float | None = None,
    limits: RateLimitView | None = None,
    in_stream: bool = False,
) -> AttemptFailed:
    """Judge an answer that is an error, from its words first and its status second.

    ``hint_s`` is a hint of the body, weaker than the headers' and stronger than the resets
    of ``limits``. An error at status 200 has the verdict of the status it stands for; one
    that came ``in_stream`` may have been billed for what went before it.
    """
    words = read_words(response.body) if words is None else words
    status = response.status if response.status >= 400 else status_of(words)
    verdict, outcome = _judgement(status, words)
    needed, allowed = None, None
    fits = read_too_long(words.message, words.details)
    if verdict in (Verdict.REFUSED, Verdict.RETRY) and status < 500:
        if fits is not None or words.words & _TOO_LONG_WORDS:
            verdict, (needed, allowed) = Verdict.TOO_LONG, fits or (None, None)
        elif status in (413, 429) and is_too_large_for_limit(words.message):
            verdict = Verdict.REFUSED
    retry_s = None
    if verdict is Verdict.RETRY:
        retry_s = retry_after_s(response.headers, response.arrived_unix_s) or hint_s
        if retry_s is None and status == 429:
            retry_s = exhausted_reset_s(limits)
    return AttemptFailed(
        _message(status, words),
        verdict=verdict,
        outcome=Outcome.UNKNOWN if in_stream else outcome,
        kind=_kind(status, verdict, words),
        status=status,
        retry_after_s=retry_s,
        tokens_needed=needed,
        tokens_allowed=allowed,
        limits=limits,
    )


def status_of(words: ErrorWords) -> int:
    """Give the status that an error without one stands for; 500 where it does not say."""
    if words.status is not None:
        return words.status
    for word in sorted(words.words):
        if word in _STATUS_OF_WORD:
            return _STATUS_OF_WORD[word]
    if words.words & _CLOSING_WORDS:
        return 402
    if words.words & _MODEL_WORDS:
        return 404
    return 400 if words.words & _TOO_LONG_WORDS else 500


def _judgement(status: int, words: ErrorWords) -> _Judgement:
    if status < 500:
        if words.words & _CLOSING_WORDS:
            return _CLOSED
        # OpenRouter: this prompt was flagged, which says nothing of the key.
        if status == 403 and "flagged_input" in str(words.details):
            return _REFUSED
        # A limit that the operator set on the provider's site comes as a bad request.
        if status == 400 and words.message.startswith("You have reached your specified"):
            return _CLOSED
        if status in (400, 403, 404) and words.words & _MODEL_WORDS:
            return _MODEL_GONE
    usual = _RETRY if status >= 500 else _REFUSED
    return _BY_STATUS.get(status, usual)


def _kind(status: int, verdict: Verdict, words: ErrorWords) -> str:
    if verdict is Verdict.TOO_LONG:
        return "too_long"
    if verdict is Verdict.MODEL_GONE:
        return "model_gone"
    if verdict is Verdict.CLOSED and (status in (402, 429) or status == 400):
        return "no_credit"
    if status in (401, 403):
        return "no_permission"
    if status == 429:
        return "ramp_limit" if words.words & RAMP_WORDS else "rate_limit"
    return "overloaded" if status == 529 else f"http_{status}"


def _message(status: int, words: ErrorWords) -> str:
    said = clean(words.message)
    return f"HTTP {status}: {said}" if said else f"HTTP {status} without a word"


# --- what transports and readers say ---------------------------------------------------


def not_sent(kind: str, message: str, *, verdict: Verdict = Verdict.RETRY) -> AttemptFailed:
    """The request surely never reached the provider."""
    return AttemptFailed(clean(message), verdict=verdict, outcome=Outcome.NOT_SENT, kind=kind)


def lost(kind: str, message: str) -> AttemptFailed:
    """It was sent, or part of it, and what became of it nobody knows."""
    failure = clean(message)
    return AttemptFailed(failure, verdict=Verdict.RETRY, outcome=Outcome.UNKNOWN, kind=kind)


def bad_body(message: str, *, status: int | None = 200) -> AttemptFailed:
    """An answer that cannot be used: it may have been billed."""
    return AttemptFailed(
        clean(message),
        verdict=Verdict.RETRY,
        outcome=Outcome.UNKNOWN,
        kind="bad_body",
        status=status,
    )


def redirected(response_status: int, host: str) -> AttemptFailed:
    """An answer that points elsewhere. It is not followed: the credential would travel."""
    return AttemptFailed(
        f"{host} answered with a redirect (HTTP {response_status}), which is never followed; "
        "set base_url to the address it should be",
        verdict=Verdict.CLOSED,
        outcome=Outcome.NOT_BILLED,
        kind="redirect",
        status=response_status,
    )
