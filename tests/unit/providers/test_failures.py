from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sutlerd.providers.contract import Outcome, Verdict
from sutlerd.providers.error_words import MAX_WORDS, read_words
from sutlerd.providers.failures import judge
from sutlerd.providers.transport import Response


def answer(status: int, body: object = b"", headers: dict[str, str] | None = None) -> Response:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Response(status=status, headers=headers or {}, body=data, arrived_unix_s=1.795e9)


def error(message: str = "no", **fields: Any) -> dict[str, Any]:
    return {"error": {"message": message, **fields}}


@pytest.mark.fault("P9")
@pytest.mark.parametrize("status", [500, 502, 503, 529, 408])
@pytest.mark.parametrize("body", [error(), b"<html><b>Bad</b> gateway</html>", b""])
def test_servers_in_trouble_are_asked_again_and_billed_nothing(status: int, body: object) -> None:
    failure = judge(answer(status, body))
    assert (failure.verdict, failure.outcome) == (Verdict.RETRY, Outcome.NOT_BILLED)


@pytest.mark.fault("P9")
@pytest.mark.parametrize("status", [504, 520, 524])
def test_a_gateway_that_gave_up_says_nothing_of_the_bill(status: int) -> None:
    failure = judge(answer(status, b"<html>"))
    assert (failure.verdict, failure.outcome) == (Verdict.RETRY, Outcome.UNKNOWN)


@pytest.mark.fault("P4")
@pytest.mark.parametrize(
    ("status", "body"),
    [
        (429, error(type="insufficient_quota")),
        (429, error(code="insufficient_quota")),
        (429, error(code="credit_balance_exhausted")),
        (429, error(code="organization_spend_limit_exceeded")),
        (429, error(code="project_spend_limit_exceeded")),
        (
            429,
            error(type="rate_limit_error", details={"error_code": "enforced_spend_limit_reached"}),
        ),
        (402, error()),
        (402, b""),
        (400, error("You have reached your specified API usage limits.")),
    ],
)
def test_no_credit_closes_and_is_not_billed(status: int, body: object) -> None:
    failure = judge(answer(status, body))
    assert (failure.verdict, failure.outcome) == (Verdict.CLOSED, Outcome.NOT_BILLED)
    assert failure.kind == "no_credit"
    assert failure.retry_after_s is None


@pytest.mark.fault("P7")
@pytest.mark.parametrize("status", [401, 403])
def test_no_permission_closes(status: int) -> None:
    failure = judge(answer(status, error(code="invalid_api_key")))
    assert (failure.verdict, failure.kind) == (Verdict.CLOSED, "no_permission")


def test_a_flagged_prompt_says_nothing_of_the_key() -> None:
    body = error(code=403, metadata={"reasons": ["x"], "flagged_input": "…"})
    assert judge(answer(403, body)).verdict is Verdict.REFUSED


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (404, error(code="model_not_found")),
        (404, {"error": "model 'x' not found, try pulling it first"}),
        (404, {"type": "error", "error": {"type": "not_found_error", "message": "model: x"}}),
        (400, error(code="model_decommissioned")),
        (410, b""),
    ],
)
def test_a_retired_or_unknown_model_is_gone(status: int, body: object) -> None:
    assert judge(answer(status, body)).verdict is Verdict.MODEL_GONE


@pytest.mark.fault("P6")
@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, error("Unsupported parameter: 'top_k'", code="unsupported_parameter")),
        (422, {"detail": [{"loc": ["body", "top_k"], "msg": "extra fields"}]}),
        (413, b"<html><title>413</title>Request Entity Too Large</html>"),
        (501, error("not supported")),
    ],
)
def test_what_the_provider_refuses_is_refused(status: int, body: object) -> None:
    failure = judge(answer(status, body))
    assert (failure.verdict, failure.outcome) == (Verdict.REFUSED, Outcome.NOT_BILLED)


@pytest.mark.fault("P6")
@pytest.mark.parametrize(
    ("body", "needed", "allowed"),
    [
        (
            error(
                "This model's maximum context length is 8192 tokens. However, your messages "
                "resulted in 10,021 tokens.",
                code="context_length_exceeded",
            ),
            10021,
            8192,
        ),
        (error("prompt is too long: 250000 tokens > 200000 maximum"), 250000, 200000),
        (
            error(
                "This model's maximum context length is 2048 tokens. However, you requested 2060 "
                "tokens (2050 in the messages, 10 in the completion)."
            ),
            2060,
            2048,
        ),
        (
            error(
                "'max_tokens' or 'max_completion_tokens' is too large: 4096. This model's maximum "
                "context length is 2048 tokens and your request has 12 input tokens",
            ),
            12,
            2048,
        ),
        (
            error(
                "The decoder prompt (length 5000) is longer than the maximum model length of 4096."
            ),
            5000,
            4096,
        ),
        (
            error(
                "request (3000 tokens) exceeds the available context size (2048 tokens)",
                type="exceed_context_size_error",
                n_prompt_tokens=3000,
                n_ctx=2048,
            ),
            3000,
            2048,
        ),
        (
            error(
                "The input token count (1048600) exceeds the maximum number of tokens allowed "
                "(1048576)."
            ),
            1048600,
            1048576,
        ),
        (
            error(
                "Prompt contains 40000 tokens and 0 draft tokens, too large for model with 32768 "
                "maximum context length"
            ),
            40000,
            32768,
        ),
        ({"error": "the input length exceeds the context length"}, None, None),
        (error("too much", code="context_length_exceeded"), None, None),
    ],
)
def test_a_prompt_that_does_not_fit_is_too_long_in_any_wording(
    body: object, needed: int | None, allowed: int | None
) -> None:
    failure = judge(answer(400, body))
    assert failure.verdict is Verdict.TOO_LONG
    assert (failure.tokens_needed, failure.tokens_allowed) == (needed, allowed)
    assert failure.outcome is Outcome.NOT_BILLED


@pytest.mark.fault("P5")
def test_one_request_over_the_whole_limit_is_refused_not_asked_again() -> None:
    message = "Request too large for gpt-4o on tokens per min (TPM): Limit 30000, Requested 40,000."
    body = error(message, code="rate_limit_exceeded", type="tokens")
    assert judge(answer(429, body)).verdict is Verdict.REFUSED
    fits = message.replace("40,000", "4,000")
    assert judge(answer(429, error(fits, code="rate_limit_exceeded"))).verdict is Verdict.RETRY


def test_a_rate_limit_carries_its_hint() -> None:
    failure = judge(answer(429, error(code="rate_limit_exceeded"), {"retry-after": "107"}))
    assert (failure.verdict, failure.outcome) == (Verdict.RETRY, Outcome.NOT_BILLED)
    assert (failure.kind, failure.retry_after_s) == ("rate_limit", 107.0)
    assert judge(answer(429), hint_s=34.0).retry_after_s == 34.0


@pytest.mark.fault("P18")
@pytest.mark.parametrize(
    ("words", "verdict", "kind"),
    [
        (error(code=429), Verdict.RETRY, "rate_limit"),
        (error(code="429"), Verdict.RETRY, "rate_limit"),
        (error(code=502), Verdict.RETRY, "http_502"),
        (error(type="overloaded_error"), Verdict.RETRY, "overloaded"),
        (error(code=402), Verdict.CLOSED, "no_credit"),
        (error(code="insufficient_quota"), Verdict.CLOSED, "no_credit"),
        (error(code="model_not_found"), Verdict.MODEL_GONE, "model_gone"),
        (error(type="invalid_request_error"), Verdict.REFUSED, "http_400"),
        (error(code="context_length_exceeded"), Verdict.TOO_LONG, "too_long"),
        (error("who knows"), Verdict.RETRY, "http_500"),
        ({"error": "busy"}, Verdict.RETRY, "http_500"),
    ],
)
def test_an_error_at_status_200_is_the_error_that_it_is(
    words: object, verdict: Verdict, kind: str
) -> None:
    failure = judge(answer(200, words))
    assert (failure.verdict, failure.kind) == (verdict, kind)
    assert failure.outcome is Outcome.NOT_BILLED


@pytest.mark.fault("P19")
def test_an_error_within_a_stream_is_charged_whatever_it_says() -> None:
    failure = judge(answer(200, error(type="rate_limit_error")), in_stream=True)
    assert failure.outcome is Outcome.UNKNOWN


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ([{"error": {"code": 400, "message": "array", "status": "INVALID_ARGUMENT"}}], "array"),
        ({"detail": "Unauthorized"}, "Unauthorized"),
        ({"detail": [{"loc": ["body", "n"], "msg": "bad"}]}, "body.n: bad"),
        ({"object": "error", "message": "flat", "code": 400}, "flat"),
        (b"<html><h1>413</h1>Too <b>Large</b></html>", "413 Too Large"),
        (b"plain\r\n\x1b[31mtext", "plain [31mtext"),
        (b"\xff\xfe", "��"),
        ([], ""),
        (7, ""),
        ({"error": {"message": None}}, ""),
    ],
)
def test_words_are_found_in_any_spelling(body: object, message: str) -> None:
    assert judge(answer(500, body)).message.removeprefix("HTTP 500: ") == (
        message or "HTTP 500 without a word"
    )


@pytest.mark.fault("P17")
def test_words_are_cut_and_kept_to_one_line() -> None:
    failure = judge(answer(500, error("a\nb " * 10_000)))
    assert len(failure.message) <= MAX_WORDS + len("HTTP 500: ")
    assert "\n" not in failure.message


@given(st.binary(max_size=200), st.integers(300, 699))
def test_no_body_makes_a_crash(body: bytes, status: int) -> None:
    assert judge(answer(status, body)).verdict in Verdict
    read_words(body)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(
                st.sampled_from(
                    ["error", "message", "code", "type", "details", "detail", "status"]
                ),
                inner,
            )
        ),
        max_leaves=12,
    )
)
def test_no_json_makes_a_crash(body: object) -> None:
    assert judge(answer(400, body)).message
