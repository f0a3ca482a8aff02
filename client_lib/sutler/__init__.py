"""Ask the node's sutlerd for answers of language models.

>>> import sutler
>>> with sutler.Client() as client:
...     client.chat("Name the capital of France.")
'Paris'
"""

from sutler.client import Client
from sutler.errors import (
    AccessDenied,
    BudgetExceeded,
    CacheMiss,
    CallerFault,
    Cancelled,
    ConnectionLost,
    ContextLengthExceeded,
    DaemonFault,
    DaemonUnavailable,
    InternalError,
    InvalidOutput,
    InvalidParams,
    InvalidRequest,
    LedgerUnavailable,
    MethodNotFound,
    OutcomeUnknown,
    Overloaded,
    PriceUnknown,
    ProviderError,
    ProviderFault,
    ProviderUnavailable,
    RateLimited,
    ShuttingDown,
    SutlerError,
    Timeout,
)
from sutler.types import Chunk, Completion, Embeddings, Rendered, TokenCount, ToolCall, Usage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sutler.aio import AsyncClient, AsyncStream
    from sutler.messages import FunctionDefinition, Message, Role
    from sutler.stream import Stream

__version__ = "0.1.0"

__all__ = [
    "AccessDenied",
    "AsyncClient",
    "AsyncStream",
    "BudgetExceeded",
    "CacheMiss",
    "CallerFault",
    "Cancelled",
    "Chunk",
    "Client",
    "Completion",
    "ConnectionLost",
    "ContextLengthExceeded",
    "DaemonFault",
    "DaemonUnavailable",
    "Embeddings",
    "FunctionDefinition",
    "InternalError",
    "InvalidOutput",
    "InvalidParams",
    "InvalidRequest",
    "LedgerUnavailable",
    "Message",
    "MethodNotFound",
    "OutcomeUnknown",
    "Overloaded",
    "PriceUnknown",
    "ProviderError",
    "ProviderFault",
    "ProviderUnavailable",
    "RateLimited",
    "Rendered",
    "Role",
    "ShuttingDown",
    "Stream",
    "SutlerError",
    "Timeout",
    "TokenCount",
    "ToolCall",
    "Usage",
]

#: Loaded when first used: most processes need none of them.
_LAZY = {
    "AsyncClient": "sutler.aio",
    "AsyncStream": "sutler.aio",
    "FunctionDefinition": "sutler.messages",
    "Message": "sutler.messages",
    "Role": "sutler.messages",
    "Stream": "sutler.stream",
}


def __getattr__(name: str) -> object:
    if name not in _LAZY:
        raise AttributeError("module %r has no attribute %r" % (__name__, name))
    from importlib import import_module

    value = globals()[name] = getattr(import_module(_LAZY[name]), name)
    return value


def __dir__() -> "list[str]":
    return sorted({*globals(), *__all__})
