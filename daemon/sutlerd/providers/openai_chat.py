"""The dialect of OpenAI's chat completions and of every server that speaks it. Pure.

Joins the parts: ``openai_build`` spells, ``openai_read``, ``openai_stream`` and
``openai_embed`` read, ``failures`` judges. What differs between servers is data in
``openai_switches``; a wire that is different in kind is another dialect.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sutlerd.domain.call import ChatRequest, EmbedRequest
from sutlerd.domain.reply import Embedded, Reply
from sutlerd.providers.bounded_json import MAX_VECTOR_VALUES, read_object
from sutlerd.providers.contract import (
    AttemptFailed,
    BuiltRequest,
    Outcome,
    RateLimitView,
    TokenCount,
    Verdict,
)
from sutlerd.providers.dialect import ModelTraits, StreamReader
from sutlerd.providers.error_words import ErrorWords, read_words, words_of
from sutlerd.providers.failures import bad_body, judge
from sutlerd.providers.hints import duration_s, read_limits, retry_after_s
from sutlerd.providers.openai_build import build_chat, build_embed
from sutlerd.providers.openai_count import build_count, read_count
from sutlerd.providers.openai_embed import read_vectors
from sutlerd.providers.openai_read import BROKEN_OFF, listed, read_choice, read_message
from sutlerd.providers.openai_stream import OpenAIStreamReader
from sutlerd.providers.openai_switches import OpenAISwitches
from sutlerd.providers.transport import Response


class OpenAIChat:
    """See ``dialect.Dialect``. ``provider`` is the endpoint's name, shown in replies."""

    def __init__(self, *, provider: str, switches: OpenAISwitches) -> None:
        self.provider = provider
        self.switches = switches

    def auth_headers(self, api_key: str | None) -> Mapping[str, str]:
        return {"authorization": f"Bearer {api_key}"} if api_key else {}

    def build_chat(self, request: ChatRequest, model: str, traits: ModelTraits) -> BuiltRequest:
        return build_chat(request, model, traits, self.switches)

    def build_embed(self, request: EmbedRequest, model: str, traits: ModelTraits) -> BuiltRequest:
        return build_embed(request, model, traits, self.switches)

    def build_count(
        self, asked: str | Sequence[dict[str, Any]], model: str, traits: ModelTraits
    ) -> BuiltRequest | None:
        return build_count(asked, model, self.switches.counts)

    def stream_body(self, body: Mapping[str, Any]) -> dict[str, Any]:
        streaming = {**body, "stream": True}
        if self.switches.stream_usage:
            options: dict[str, Any] = {"include_usage": True}
            if self.switches.obfuscation_flag:
                # Padding against eavesdroppers who count bytes; costs more than it hides
                # from a node that shares one connection.
                options["include_obfuscation"] = False
            streaming["stream_options"] = options
        return streaming

    def read_reply(self, built: BuiltRequest, response: Response) -> Reply:
        if not 200 <= response.status < 300:
            raise self.classify(response)
        try:
            body = read_object(response.body)
            self._raise_if_error(body, response)
            return read_message(body, asked_model=built.model, provider=self.provider)
        except ValueError as error:
            raise bad_body(f"the reply cannot be used: {error}", status=response.status) from None

    def open_stream(self, built: BuiltRequest) -> StreamReader:
        return OpenAIStreamReader(
            asked_model=built.model,
            provider=self.provider,
            judge=lambda words: judge(_AT_200, words=words, hint_s=_hint_s(words), in_stream=True),
            read_whole=lambda body: self.read_reply(
                built, Response(status=200, headers={}, body=body)
            ),
        )

    def read_embed(self, built: BuiltRequest, response: Response) -> Embedded:
        if not 200 <= response.status < 300:
            raise self.classify(response)
        try:
            body = read_object(response.body, max_values=MAX_VECTOR_VALUES)
            self._raise_if_error(body, response)
            return read_vectors(
                body,
                texts=len(built.body["input"]),
                dimensions=built.body.get("dimensions"),
                asked_model=built.model,
                provider=self.provider,
            )
        except ValueError as error:
            raise bad_body(f"the vectors cannot be used: {error}") from None

    def read_count(self, response: Response) -> TokenCount:
        if not 200 <= response.status < 300:
            raise self.classify(response)
        try:
            return read_count(response.body)
        except ValueError as error:
            raise bad_body(f"the count cannot be used: {error}") from None

    def classify(self, response: Response) -> AttemptFailed:
        words = read_words(response.body)
        failure = judge(response, words=words, hint_s=_hint_s(words), limits=self.limits(response))
        if _is_daily_quota(words):
            # Gemini hints at seconds even where the day's quota is gone.
            failure.verdict, failure.kind = Verdict.CLOSED, "no_credit"
            failure.outcome, failure.retry_after_s = Outcome.NOT_BILLED, None
        if response.status == 402 and self.switches.hinted_402:
            pause_s = retry_after_s(response.headers, response.arrived_unix_s)
            if pause_s is not None:
                failure.verdict, failure.retry_after_s = Verdict.RETRY, pause_s
        return failure

    def limits(self, response: Response) -> RateLimitView | None:
        return read_limits(response.headers, self.switches.limit_headers, response.arrived_unix_s)

    def _raise_if_error(self, body: Mapping[str, Any], response: Response) -> None:
        """Take an error at status 200 for the error that it is."""
        choice = listed(body.get("choices")) and read_choice(body)
        if body.get("error"):
            words = words_of(body)
        elif choice and choice.get("error"):
            words = words_of(choice["error"])
        elif choice and choice.get("finish_reason") in BROKEN_OFF:
            words = ErrorWords(message="the provider broke off")
        else:
            return
        raise judge(response, words=words, hint_s=_hint_s(words))


_AT_200 = Response(status=200, headers={}, body=b"")


def _hint_s(words: ErrorWords) -> float | None:
    """Read Gemini's RetryInfo out of an error's details."""
    for detail in listed((words.details or {}).get("details")):
        if str(detail.get("@type", "")).endswith("RetryInfo"):
            delay = detail.get("retryDelay")
            return duration_s(delay) if isinstance(delay, str) else None
    return None


def _is_daily_quota(words: ErrorWords) -> bool:
    """Say whether Gemini names a quota by the day as the one that is used up."""
    for detail in listed((words.details or {}).get("details")):
        for violation in listed(detail.get("violations")):
            if "PerDay" in str(violation.get("quotaId", "")):
                return True
    return False
