"""Every name that a span of ours carries, in one place.

The names without ``sutler.`` are OpenTelemetry's: its conventions for generative AI, for
servers and for errors. They are written out here because that package is a large one, still
moves, and is needed for nothing else; a test compares them with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

SERVICE_NAME: Final = "service.name"
SERVICE_VERSION: Final = "service.version"
SERVICE_INSTANCE_ID: Final = "service.instance.id"
HOST_NAME: Final = "host.name"

OPERATION_NAME: Final = "gen_ai.operation.name"
PROVIDER_NAME: Final = "gen_ai.provider.name"
REQUEST_MODEL: Final = "gen_ai.request.model"
REQUEST_MAX_TOKENS: Final = "gen_ai.request.max_tokens"
REQUEST_TEMPERATURE: Final = "gen_ai.request.temperature"
REQUEST_TOP_P: Final = "gen_ai.request.top_p"
REQUEST_SEED: Final = "gen_ai.request.seed"
REQUEST_STREAM: Final = "gen_ai.request.stream"
RESPONSE_MODEL: Final = "gen_ai.response.model"
RESPONSE_FINISH_REASONS: Final = "gen_ai.response.finish_reasons"
RESPONSE_TIME_TO_FIRST_CHUNK: Final = "gen_ai.response.time_to_first_chunk"
OUTPUT_TYPE: Final = "gen_ai.output.type"
PROMPT_NAME: Final = "gen_ai.prompt.name"
USAGE_INPUT_TOKENS: Final = "gen_ai.usage.input_tokens"
USAGE_OUTPUT_TOKENS: Final = "gen_ai.usage.output_tokens"
USAGE_CACHE_READ_INPUT_TOKENS: Final = "gen_ai.usage.cache_read.input_tokens"
USAGE_CACHE_CREATION_INPUT_TOKENS: Final = "gen_ai.usage.cache_creation.input_tokens"
USAGE_REASONING_OUTPUT_TOKENS: Final = "gen_ai.usage.reasoning.output_tokens"
#: JSON texts, and only where the operator has content captured.
INPUT_MESSAGES: Final = "gen_ai.input.messages"
OUTPUT_MESSAGES: Final = "gen_ai.output.messages"

SERVER_ADDRESS: Final = "server.address"
SERVER_PORT: Final = "server.port"
ERROR_TYPE: Final = "error.type"
HTTP_RESPONSE_STATUS_CODE: Final = "http.response.status_code"

#: Values of OPERATION_NAME.
CHAT: Final = "chat"
EMBEDDINGS: Final = "embeddings"

#: What a vendor is called there, by the kind of a provider of ours; others go by their kind.
VENDORS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "anthropic": "anthropic",
        "azure_openai": "azure.ai.openai",
        "cohere": "cohere",
        "deepseek": "deepseek",
        "gemini": "gcp.gemini",
        "groq": "groq",
        "mistral": "mistral_ai",
        "openai": "openai",
        "perplexity": "perplexity",
        "xai": "x_ai",
    }
)

# Of our own, because no convention has a word for them.
REQUEST_ID: Final = "sutler.request_id"
UID: Final = "sutler.uid"
JOB: Final = "sutler.job"
COMPONENT: Final = "sutler.component"
PROJECT: Final = "sutler.project"
LANE: Final = "sutler.lane"
ENDPOINT: Final = "sutler.provider"
QUEUED_MS: Final = "sutler.queued_ms"
BUCKET: Final = "sutler.bucket"
ATTEMPTS: Final = "sutler.attempts"
COST_NANOUSD: Final = "sutler.cost_nanousd"
CACHED: Final = "sutler.cached"
OUTCOME: Final = "sutler.outcome"
PASSED_OVER: Final = "sutler.route_passed_over"
