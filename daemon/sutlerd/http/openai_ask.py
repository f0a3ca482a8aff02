"""From an OpenAI request to the wire's parameters: chat completions and completions. Pure.

What is left out, null or says nothing (``n: 1``, ``logprobs: false``) is left out of the call,
so that every client's spelling of one prompt is one cache entry. What has a meaning that cannot
be kept is refused; what only a provider can judge goes through to it as ``extra``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sutlerd.domain.errors import InvalidParams

MAX_SAMPLES = 128

#: Parameters that are the wire's own.
_SAME = frozenset(
    {
        "model",
        "temperature",
        "top_p",
        "max_tokens",
        "max_completion_tokens",
        "stop",
        "seed",
        "user",
        "metadata",
        "functions",
        "function_call",
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "response_format",
        "stream",
    }
)
#: Values that ask for nothing.
_NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    "n": (1,),
    "best_of": (1,),
    "echo": (False,),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "presence_penalty": (0,),
    "frequency_penalty": (0,),
    "logit_bias": ({},),
    "modalities": (["text"],),
    "store": (False,),
    "service_tier": ("auto", "default"),
    "tools": ([],),
    "functions": ([],),
    "stop": ([],),
    "metadata": ({},),
    "suffix": ("",),
    "stream_options": ({},),
    "response_format": ({"type": "text"},),
}
#: Only address a call, or hint at OpenAI's own machinery.
_DROPPED = frozenset(
    {"prompt_cache_key", "prompt_cache_retention", "safety_identifier", "stream_options"}
)
#: Known, meaningful, and not served.
_REFUSED = {
    "logprobs": "log probabilities are not served",
    "top_logprobs": "log probabilities are not served",
    "audio": "audio is not served",
    "modalities": "text is the only modality served",
    "prediction": "predicted outputs are not served",
    "web_search_options": "web search is not served",
    "store": "nothing is stored for later retrieval; leave it out",
    "best_of": "use n, and choose yourself",
    "echo": "the prompt is not repeated",
    "suffix": "insertion is not served",
}


def chat(body: Any) -> tuple[dict[str, Any], int]:
    """Give the parameters of ``complete``, and how many samples. Raises ``InvalidParams``."""
    found, samples, problems = _common(body, also=("messages",))
    if isinstance(found.get("messages"), list):
        found["messages"] = [
            message(each, f"messages[{place}]", problems)
            for place, each in enumerate(found["messages"])
        ]
    else:
        problems.append("messages: must be a list of messages")
    if problems:
        raise InvalidParams(problems)
    return found, samples


def completion(body: Any) -> list[tuple[dict[str, Any], int]]:
    """Give parameters and samples for each prompt. Raises ``InvalidParams``."""
    found, samples, problems = _common(body, also=("prompt",))
    prompt = found.pop("prompt", None)
    prompts = prompt if isinstance(prompt, list) else [prompt]
    if not prompts or not all(isinstance(each, str) and each for each in prompts):
        problems.append("prompt: must be text, or a list of texts")
    if len(prompts) * samples > MAX_SAMPLES:
        problems.append(f"prompt: at most {MAX_SAMPLES} completions in one request")
    if problems:
        raise InvalidParams(problems)
    return [
        ({**found, "messages": [{"role": "user", "content": each}]}, samples) for each in prompts
    ]


def include_usage(body: Mapping[str, Any]) -> bool:
    wanted = body.get("stream_options")
    return isinstance(wanted, dict) and wanted.get("include_usage") is True


def samples_of(params: dict[str, Any], samples: int) -> list[dict[str, Any]]:
    """Give one call for each sample; the first of one is the plain call."""
    if samples == 1:
        return [params]
    name = params.get("request_id")
    calls = []
    for number in range(samples):
        call = {**params, "sample": number}
        if name is not None and number:
            call["request_id"] = f"{name}/{number}"
        calls.append(call)
    return calls


def _common(body: Any, *, also: tuple[str, ...]) -> tuple[dict[str, Any], int, list[str]]:
    if not isinstance(body, dict):
        raise InvalidParams("the body must be a JSON object")
    found: dict[str, Any] = {}
    extra: dict[str, Any] = {}
    problems: list[str] = []
    samples = 1
    for name, value in body.items():
        if value is None or name in _DROPPED or says_nothing(value, _NEUTRAL.get(name, ())):
            continue
        if name in _SAME or name in also:
            found[name] = value
        elif name == "n":
            if type(value) is int and 1 <= value <= MAX_SAMPLES:
                samples = value
            else:
                problems.append(f"n: must be a number from 1 to {MAX_SAMPLES}")
        elif name in _REFUSED:
            problems.append(f"{name}: {_REFUSED[name]}")
        else:
            extra[name] = value
    if extra:
        found["extra"] = extra
    return found, samples, problems


def says_nothing(value: Any, neutral: tuple[Any, ...]) -> bool:
    return any(value == each and type(value) in (type(each), float) for each in neutral)


def message(raw: Any, path: str, problems: list[str]) -> Any:
    """Give one message without what says nothing, in the wire's one spelling."""
    if not isinstance(raw, dict):
        problems.append(f"{path}: must be an object")
        return {}
    shaped = {name: value for name, value in raw.items() if value is not None}
    for name in ("refusal", "annotations", "audio", "reasoning", "reasoning_content"):
        # What an answer had: it comes back with the conversation, and no provider wants it.
        shaped.pop(name, None)
    if shaped.get("role") == "assistant" and shaped.get("tool_calls") == []:
        del shaped["tool_calls"]
    if "function_call" in shaped:
        problems.append(f"{path}.function_call: use tool_calls")
    if shaped.get("role") == "assistant" and not shaped.get("content"):
        if shaped.get("tool_calls"):
            shaped.pop("content", None)
    elif isinstance(shaped.get("content"), list):
        shaped["content"] = plain_content(shaped["content"])
    return shaped


def listed(body: Mapping[str, Any], name: str, problems: list[str]) -> list[Any]:
    """Give a list that may be left out."""
    given = body.get(name)
    if given is None or isinstance(given, list):
        return given or []
    problems.append(f"{name}: must be a list")
    return []


def plain_content(parts: list[Any]) -> Any:
    """Give one part of text as the text that it is: both spellings are one prompt."""
    if len(parts) == 1 and isinstance(parts[0], dict):
        only = parts[0]
        if only.get("type") == "text" and only.keys() == {"type", "text"}:
            return only["text"]
    return parts
