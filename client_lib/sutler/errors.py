"""Every way a call can fail, as its caller sees it: one tree, one class per wire type.

The base classes below ``SutlerError`` say whose fault it is; the leaves are for ``except``.
Codes and the default for ``retryable`` come from the wire's own table. Errors that never
travel (no daemon, connection lost) are leaves here too.
"""

from sutler.wire import ERRORS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, Mapping, Optional, Tuple, Type


class SutlerError(Exception):
    """Base of all errors of this library.

    ``code`` and ``type`` are the wire's; ``retryable`` says whether the same call may
    succeed later, ``retry_after_s`` after how many seconds (None: not known);
    ``request_id`` finds the call in the daemon's log; ``data`` holds all further fields.
    A plain ``SutlerError`` is an error type that this version does not know yet.
    """

    type = "internal_error"

    def __init__(
        self,
        message: str,
        *,
        type: "Optional[str]" = None,
        code: "Optional[int]" = None,
        retryable: "Optional[bool]" = None,
        retry_after_s: "Optional[float]" = None,
        request_id: "Optional[str]" = None,
        data: "Optional[Mapping[str, Any]]" = None,
    ) -> None:
        super().__init__(message)
        if type is not None:
            self.type = type
        known_code, known_retryable = ERRORS.get(self.type, (0, False))
        self.message = message
        self.code = known_code if code is None else code
        self.retryable = known_retryable if retryable is None else retryable
        self.retry_after_s = retry_after_s
        self.request_id = request_id
        self.data: "Dict[str, Any]" = dict(data) if data else {}

    def __repr__(self) -> str:
        parts = ["%r" % self.message, "type=%r" % self.type, "retryable=%r" % self.retryable]
        if self.retry_after_s is not None:
            parts.append("retry_after_s=%r" % self.retry_after_s)
        if self.request_id is not None:
            parts.append("request_id=%r" % self.request_id)
        return "%s(%s)" % (self.__class__.__name__, ", ".join(parts))


class CallerFault(SutlerError):
    """The call itself has to change."""


class DaemonFault(SutlerError):
    """The daemon, or the way to it, is in trouble."""


class ProviderFault(SutlerError):
    """The provider behind the daemon refused, failed or was too slow."""


class InvalidRequest(CallerFault):
    """No line that the protocol allows: too long, not JSON, or not a request."""

    type = "invalid_request"


class MethodNotFound(CallerFault):
    """The daemon has no such method; a newer one may."""

    type = "method_not_found"


class InvalidParams(CallerFault):
    """Wrong parameters; ``problems`` lists each as ``params.path: what is wrong``."""

    type = "invalid_params"

    @property
    def problems(self) -> "List[str]":
        return list(self.data.get("problems") or [self.message])


class BudgetExceeded(CallerFault):
    type = "budget_exceeded"


class Cancelled(CallerFault):
    type = "cancelled"


class AccessDenied(CallerFault):
    """This user may not use the daemon; or who listens on the socket is not to be trusted."""

    type = "access_denied"


class CacheMiss(CallerFault):
    """``cache="only"`` was asked for and nothing is stored."""

    type = "cache_miss"


class PriceUnknown(CallerFault):
    type = "price_unknown"


class ContextLengthExceeded(CallerFault):
    type = "context_length_exceeded"


class InternalError(DaemonFault):
    """A fault of the daemon's own; ``request_id`` finds it in its log."""

    type = "internal_error"


class Overloaded(DaemonFault):
    type = "overloaded"


class ShuttingDown(DaemonFault):
    type = "shutting_down"


class OutcomeUnknown(DaemonFault):
    """The first try was under way when the daemon died: ask again under a new id."""

    type = "outcome_unknown"


class LedgerUnavailable(DaemonFault):
    type = "ledger_unavailable"


class DaemonUnavailable(DaemonFault):
    """No daemon could be reached; the message lists where it was sought.

    ``tried`` pairs each path with the reason it did not do.
    """

    type = "daemon_unavailable"

    @property
    def tried(self) -> "List[Tuple[str, str]]":
        return [(path, reason) for path, reason in self.data.get("tried", ())]


class ConnectionLost(DaemonFault):
    """The connection ended before the answer was whole, and asking again was not possible.

    Retryable unless the call may have changed something and has no ``request_id``.
    """

    type = "connection_lost"


class RateLimited(ProviderFault):
    type = "rate_limited"


class ProviderError(ProviderFault):
    """The provider refused the call; its own words are in the message."""

    type = "provider_error"


class ProviderUnavailable(ProviderFault):
    """Every route failed; ``data["attempts"]`` lists them."""

    type = "provider_unavailable"


class Timeout(ProviderFault):
    """``timeout_s`` passed, in the daemon or in this process."""

    type = "timeout"


class InvalidOutput(ProviderFault):
    """The model's answer did not fit the schema."""

    type = "invalid_output"


#: Wire type -> class; every type of ``wire.ERRORS`` is here.
CLASSES: "Dict[str, Type[SutlerError]]" = {
    "parse_error": InvalidRequest,
    "invalid_request": InvalidRequest,
    "method_not_found": MethodNotFound,
    "invalid_params": InvalidParams,
    "internal_error": InternalError,
    "budget_exceeded": BudgetExceeded,
    "rate_limited": RateLimited,
    "provider_error": ProviderError,
    "provider_unavailable": ProviderUnavailable,
    "timeout": Timeout,
    "cancelled": Cancelled,
    "overloaded": Overloaded,
    "access_denied": AccessDenied,
    "cache_miss": CacheMiss,
    "invalid_output": InvalidOutput,
    "shutting_down": ShuttingDown,
    "price_unknown": PriceUnknown,
    "context_length_exceeded": ContextLengthExceeded,
    "outcome_unknown": OutcomeUnknown,
    "ledger_unavailable": LedgerUnavailable,
}

_COMMON_FIELDS = ("type", "retryable", "retry_after_s", "request_id")


def from_wire(error: "Mapping[str, Any]") -> SutlerError:
    """Make the exception of a JSON-RPC error object; unknown types give a plain SutlerError.

    Fields of a wrong type count as missing: a broken error is still that error.
    """
    data = _typed(error, "data", dict) or {}
    code = _typed(error, "code", int)
    kind = _typed(data, "type", str) or _type_of_code(code)
    return CLASSES.get(kind, SutlerError)(
        str(error.get("message") or kind),
        type=kind,
        code=code,
        retryable=_typed(data, "retryable", bool),
        retry_after_s=_typed(data, "retry_after_s", (int, float)),
        request_id=_typed(data, "request_id", str),
        data={name: value for name, value in data.items() if name not in _COMMON_FIELDS},
    )


def _typed(fields: "Mapping[str, Any]", name: str, kind: "Any") -> "Any":
    value = fields.get(name)
    return value if isinstance(value, kind) else None


def _type_of_code(code: "Optional[int]") -> str:
    for kind, (known_code, _) in ERRORS.items():
        if code == known_code:
            return kind
    return "internal_error"
