"""Every way a call can fail, as a caller sees it: one class per wire type.

The code and the default for ``retryable`` come from the wire's own table; here stand
whose fault it is and how loudly it is logged. Adapters never raise these: they raise
``providers.contract.AttemptFailed``, and the pipeline decides what a caller is told.
"""

from __future__ import annotations

from enum import Enum
from typing import Any, ClassVar

from sutler.wire import ERRORS


class Fault(Enum):
    CALLER = "caller"
    DAEMON = "daemon"
    PROVIDER = "provider"


class CallError(Exception):
    """A call's one typed error. ``message`` is for people and says what to do next.

    ``data`` holds the fields of the wire's ``data`` object beyond the common ones.
    """

    type: ClassVar[str] = "internal_error"
    fault: ClassVar[Fault] = Fault.DAEMON
    log_level: ClassVar[str] = "error"

    def __init__(
        self,
        message: str,
        *,
        retryable: bool | None = None,
        retry_after_s: float | None = None,
        **data: Any,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code, by_default = ERRORS[self.type]
        self.retryable = by_default if retryable is None else retryable
        self.retry_after_s = retry_after_s
        self.data = data
        #: Whether the log has its line of it; several callers may be told one and the same.
        self.is_told = False

    def to_wire(self, request_id: str | None = None) -> dict[str, Any]:
        """Give the JSON-RPC error object."""
        data: dict[str, Any] = {
            "type": self.type,
            "retryable": self.retryable,
            "retry_after_s": self.retry_after_s,
            "request_id": request_id,
        }
        data.update(self.data)
        return {"code": self.code, "message": self.message, "data": data}


class ParseError(CallError):
    type, fault, log_level = "parse_error", Fault.CALLER, "info"


class InvalidRequest(CallError):
    type, fault, log_level = "invalid_request", Fault.CALLER, "info"


class MethodNotFound(CallError):
    type, fault, log_level = "method_not_found", Fault.CALLER, "info"


class InvalidParams(CallError):
    """Wrong parameters; ``problems`` lists each as ``params.path: what is wrong``."""

    type, fault, log_level = "invalid_params", Fault.CALLER, "info"

    def __init__(self, problems: list[str] | str) -> None:
        listed = [problems] if isinstance(problems, str) else problems
        super().__init__("; ".join(listed), problems=listed)


class InternalError(CallError):
    type, fault, log_level = "internal_error", Fault.DAEMON, "error"


class BudgetExceeded(CallError):
    type, fault, log_level = "budget_exceeded", Fault.CALLER, "warning"


class RateLimited(CallError):
    type, fault, log_level = "rate_limited", Fault.PROVIDER, "warning"


class ProviderError(CallError):
    type, fault, log_level = "provider_error", Fault.PROVIDER, "warning"


class ProviderUnavailable(CallError):
    type, fault, log_level = "provider_unavailable", Fault.PROVIDER, "warning"


class Timeout(CallError):
    type, fault, log_level = "timeout", Fault.PROVIDER, "info"


class Cancelled(CallError):
    type, fault, log_level = "cancelled", Fault.CALLER, "debug"


class Overloaded(CallError):
    type, fault, log_level = "overloaded", Fault.DAEMON, "warning"


class AccessDenied(CallError):
    type, fault, log_level = "access_denied", Fault.CALLER, "warning"


class CacheMiss(CallError):
    type, fault, log_level = "cache_miss", Fault.CALLER, "info"


class InvalidOutput(CallError):
    type, fault, log_level = "invalid_output", Fault.PROVIDER, "info"


class ShuttingDown(CallError):
    type, fault, log_level = "shutting_down", Fault.DAEMON, "info"


class PriceUnknown(CallError):
    type, fault, log_level = "price_unknown", Fault.CALLER, "warning"


class ContextLengthExceeded(CallError):
    type, fault, log_level = "context_length_exceeded", Fault.CALLER, "info"


class OutcomeUnknown(CallError):
    type, fault, log_level = "outcome_unknown", Fault.DAEMON, "warning"


class LedgerUnavailable(CallError):
    type, fault, log_level = "ledger_unavailable", Fault.DAEMON, "error"
