"""``/openapi.json``: what is asked and answered here, for tools that read such descriptions.

Written by hand, and held to what is really answered by a test that asks everything in it.
Requests of OpenAI and Anthropic have many more members than these; what is not named is either
known to say nothing or goes through to the provider.
"""

from __future__ import annotations

from typing import Any

from sutlerd import __version__
from sutlerd.http.door import Ask, Door, Page, json_page

Schema = dict[str, Any]
_TEXT: Schema = {"type": "string"}
_SOME_TEXT: Schema = {"type": "string", "minLength": 1}
_COUNT: Schema = {"type": "integer", "minimum": 0}
_MODEL: Schema = {"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,199}$"}
_ANY_NUMBER: Schema = {"type": ["number", "null"]}


def openapi() -> list[Door]:
    async def describe(ask: Ask) -> Page:
        return json_page(description())

    return [Door(method="GET", path="/openapi.json", run=describe, is_open=True)]


def description() -> dict[str, Any]:
    """Give the whole description, OpenAPI 3.1."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "sutlerd",
            "version": __version__,
            "description": "Language models of this node, in OpenAI's and Anthropic's shapes.",
        },
        "security": [{"token": []}, {"key": []}],
        "paths": _paths(),
        "components": {
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
            },
            "schemas": {
                "OpenAiError": _object(
                    {
                        "error": _object(
                            {
                                "message": _TEXT,
                                "type": _TEXT,
                                "param": {"type": ["string", "null"]},
                                "code": {"type": ["string", "null"]},
                            }
                        )
                    }
                ),
                "AnthropicError": _object(
                    {
                        "type": {"const": "error"},
                        "error": _object({"type": _TEXT, "message": _TEXT}),
                    }
                ),
                "PlainError": _object({"error": {"type": "object"}}),
            },
        },
    }


def _paths() -> dict[str, Any]:
    return {
        "/healthz": {"get": _probe("whether the process answers")},
        "/readyz": {"get": _probe("whether new calls are taken")},
        "/openapi.json": {
            "get": {
                **_get("this description", {"type": "object"}, "PlainError"),
                "security": [],
            }
        },
        "/": {"get": _told("the status page, for browsers", "text/html")},
        "/events": {"get": _told("what the status page shows, as it happens", "text/event-stream")},
        "/metrics": {"get": _told("everything that is counted, for Prometheus", "text/plain")},
        "/v1/models": {"get": _get("the models to ask", _MODELS, "OpenAiError")},
        "/v1/models/{model}": {"get": _get("one model", _ONE_MODEL, "OpenAiError", named="model")},
        "/v1/chat/completions": {
            "post": _post("chat completions", _CHAT, _CHAT_ANSWER, "OpenAiError", streams=True)
        },
        "/v1/completions": {
            "post": _post("completions", _COMPLETION, _ANSWER, "OpenAiError", streams=True)
        },
        "/v1/embeddings": {"post": _post("embeddings", _EMBED, _EMBEDDED, "OpenAiError")},
        "/v1/responses": {
            "post": _post(
                "responses, without state", _RESPONSE, _RESPONDED, "OpenAiError", streams=True
            )
        },
        "/v1/messages": {
            "post": _post("messages", _MESSAGES, _MESSAGE, "AnthropicError", streams=True)
        },
        "/v1/messages/count_tokens": {
            "post": _post(
                "count the tokens of messages",
                _COUNTED,
                _object({"input_tokens": _COUNT}),
                "AnthropicError",
            )
        },
    }


def _object(properties: dict[str, Schema], *, needs: list[str] | None = None) -> Schema:
    required = list(properties) if needs is None else needs
    return {"type": "object", "properties": properties, "required": required}


def _list(of: Schema, **more: Any) -> Schema:
    return {"type": "array", "items": of, **more}


def _probe(summary: str) -> dict[str, Any]:
    text = {"content": {"text/plain": {"schema": _TEXT}}}
    return {
        "summary": summary,
        "security": [],
        "responses": {
            "200": {"description": "yes", **text},
            "503": {"description": "no", **text},
            "default": _failure("PlainError"),
        },
    }


def _get(summary: str, answer: Schema, error: str, *, named: str | None = None) -> dict[str, Any]:
    """``named`` is the part of the path that is to be filled in."""
    place = {"name": named, "in": "path", "required": True, "schema": _MODEL}
    return {
        "summary": summary,
        "parameters": [place] if named is not None else [],
        "responses": {
            "200": {
                "description": "the answer",
                "content": {"application/json": {"schema": answer}},
            },
            "default": _failure(error),
        },
    }


def _told(summary: str, kind: str) -> dict[str, Any]:
    return {
        "summary": summary,
        "responses": {
            "200": {"description": "the answer", "content": {kind: {"schema": {}}}},
            "default": _failure("PlainError"),
        },
    }


def _post(
    summary: str, body: Schema, answer: Schema, error: str, *, streams: bool = False
) -> dict[str, Any]:
    content: dict[str, Any] = {"application/json": {"schema": answer}}
    if streams:
        content["text/event-stream"] = {"schema": {}}
    return {
        "summary": summary,
        "parameters": [
            _header("x-sutler-labels", {"type": "string", "pattern": "^component=[a-z]{1,20}$"}),
            _header("x-sutler-lane", {"enum": ["interactive", "normal", "background"]}),
            _header("x-sutler-cache", {"enum": ["on", "off", "read_only", "write_only", "only"]}),
            _header("x-sutler-timeout", {"type": "string", "pattern": "^[1-9][0-9]{0,3}$"}),
            _header("idempotency-key", {"type": "string", "pattern": "^[A-Za-z0-9]{8,100}$"}),
        ],
        "requestBody": {"required": True, "content": {"application/json": {"schema": body}}},
        "responses": {
            "200": {"description": "the answer", "content": content},
            "default": _failure(error),
        },
    }


def _header(name: str, schema: Schema) -> dict[str, Any]:
    return {"name": name, "in": "header", "required": False, "schema": schema}


def _failure(error: str) -> dict[str, Any]:
    schema = {"$ref": f"#/components/schemas/{error}"}
    return {
        "description": "what went wrong, and x-should-retry says whether to ask again",
        "content": {"application/json": {"schema": schema}},
    }


_ONE_MODEL = _object({"id": _TEXT})
_MODELS = _object({"data": _list(_ONE_MODEL)})
#: A text as the tokens of the model that is asked for.
_TOKENS: Schema = {"type": "array", "items": _COUNT, "minItems": 1, "maxItems": 8}
_USAGE: Schema = {"type": ["object", "null"]}
_ANSWER = _object(
    {
        "id": _TEXT,
        "object": _TEXT,
        "created": _COUNT,
        "model": _TEXT,
        "choices": _list(_object({"index": _COUNT, "finish_reason": _TEXT})),
        "usage": _USAGE,
    }
)
_CHAT_ANSWER = _object(
    {
        **_ANSWER["properties"],
        "choices": _list(
            _object({"index": _COUNT, "finish_reason": _TEXT, "message": {"type": "object"}})
        ),
    }
)
_SAMPLING: dict[str, Schema] = {
    "model": _MODEL,
    "temperature": {"type": ["number", "null"], "minimum": 0, "maximum": 2},
    "top_p": {"type": ["number", "null"], "exclusiveMinimum": 0, "maximum": 1},
    "stream": {"type": ["boolean", "null"]},
}
_TOOL = _object({"name": {"type": "string", "pattern": "^[a-zA-Z0-9_-]{1,64}$"}})
_CHAT = _object(
    {
        **_SAMPLING,
        "messages": _list(
            _object({"role": {"enum": ["system", "user", "assistant"]}, "content": _SOME_TEXT}),
            minItems=1,
        ),
        "max_tokens": {"type": ["integer", "null"], "minimum": 1, "maximum": 100_000},
        "n": {"type": ["integer", "null"], "minimum": 1, "maximum": 4},
        "seed": {"type": ["integer", "null"], "minimum": 0, "maximum": 2**31},
        "stop": {"anyOf": [_SOME_TEXT, _list(_SOME_TEXT, maxItems=4), {"type": "null"}]},
        "tools": _list(_object({"type": {"const": "function"}, "function": _TOOL}), maxItems=4),
        "stream_options": {"type": ["object", "null"]},
        "response_format": _object({"type": {"enum": ["text", "json_object"]}}),
        "presence_penalty": _ANY_NUMBER,
        "user": {"type": ["string", "null"], "maxLength": 200},
    },
    needs=["model", "messages"],
)
_COMPLETION = _object(
    {
        **_SAMPLING,
        "prompt": {
            "anyOf": [
                _SOME_TEXT,
                _list(_SOME_TEXT, minItems=1, maxItems=4),
                _TOKENS,
                _list(_TOKENS, minItems=1, maxItems=4),
            ]
        },
        "n": {"type": "integer", "minimum": 1, "maximum": 4},
    },
    needs=["model", "prompt"],
)
_EMBED = _object(
    {
        "model": _MODEL,
        "input": {
            "anyOf": [
                _SOME_TEXT,
                _list(_SOME_TEXT, minItems=1, maxItems=8),
                _TOKENS,
                _list(_TOKENS, minItems=1, maxItems=8),
            ]
        },
        "encoding_format": {"enum": ["float", "base64"]},
        "dimensions": {"type": "integer", "minimum": 1, "maximum": 4096},
    },
    needs=["model", "input"],
)
_EMBEDDED = _object(
    {
        "object": {"const": "list"},
        "model": _TEXT,
        "data": _list(
            _object({"index": _COUNT, "embedding": {"type": ["array", "string"]}}), minItems=1
        ),
        "usage": {"type": "object"},
    }
)
_RESPONSE = _object(
    {
        **_SAMPLING,
        "input": {
            "anyOf": [
                _SOME_TEXT,
                _list(
                    _object({"role": {"enum": ["user", "assistant"]}, "content": _SOME_TEXT}),
                    minItems=1,
                ),
            ]
        },
        "instructions": {"type": ["string", "null"]},
        "max_output_tokens": {"type": ["integer", "null"], "minimum": 1, "maximum": 100_000},
        "store": {"type": ["boolean", "null"]},
    },
    needs=["model", "input"],
)
_RESPONDED = _object(
    {
        "id": _TEXT,
        "object": {"const": "response"},
        "status": {"enum": ["completed", "incomplete"]},
        "output": _list(_object({"type": _TEXT, "id": _TEXT}), minItems=1),
        "store": {"const": False},
        "usage": _USAGE,
    }
)
_CONVERSATION = _list(
    _object(
        {
            "role": {"enum": ["user", "assistant"]},
            "content": {
                "anyOf": [
                    _SOME_TEXT,
                    _list(_object({"type": {"const": "text"}, "text": _SOME_TEXT}), minItems=1),
                ]
            },
        }
    ),
    minItems=1,
)
_COUNTED = _object({"model": _MODEL, "messages": _CONVERSATION})
_MESSAGES = _object(
    {
        **_SAMPLING,
        "messages": _CONVERSATION,
        "max_tokens": {"type": "integer", "minimum": 1, "maximum": 100_000},
        "system": {"anyOf": [_TEXT, {"type": "null"}]},
        "stop_sequences": _list(_SOME_TEXT, maxItems=4),
    },
    needs=["model", "messages", "max_tokens"],
)
_MESSAGE = _object(
    {
        "id": _TEXT,
        "type": {"const": "message"},
        "role": {"const": "assistant"},
        "model": _TEXT,
        "content": _list(_object({"type": _TEXT})),
        "stop_reason": {"enum": ["end_turn", "max_tokens", "tool_use", "refusal"]},
        "usage": _object({"input_tokens": _COUNT, "output_tokens": _COUNT}),
    }
)
