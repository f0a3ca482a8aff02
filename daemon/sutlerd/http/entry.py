"""Who may come in at all, judged from a request's head alone. Pure.

A web page in somebody's browser can reach a loopback port. What a browser cannot help saying
(``Host``, ``Origin``, ``Referer``, ``Sec-Fetch-Site``) gives it away, and nothing here ever
allows another origin in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from urllib.parse import urlsplit

from sutlerd.http.door import Refusal

TOKEN_COOKIE = "sutler_token"
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_OWN_SITE = ("same-origin", "none")
#: What is judged by its one value: of two, another reader may take the other.
_JUDGED = ("Origin", "Referer", "Sec-Fetch-Site", "Content-Type", "Content-Encoding")

#: Gives every value of a header, in their order.
AllOf = Callable[[str, Sequence[str]], Sequence[str]]


def judge(
    method: str, headers: Mapping[str, str], all_of: AllOf, *, authority: str, over_tcp: bool
) -> Refusal | None:
    """Refuse what a web page, a confused proxy or a smuggler sends.

    ``authority`` is the host that the request's target names, empty where it is a path alone.
    """
    hosts = all_of("Host", ())
    if len(hosts) != 1:
        return Refusal(status=400, kind="invalid", message="exactly one Host header is needed")
    for name in _JUDGED:
        if name in headers and len(all_of(name, ())) > 1:
            return Refusal(status=400, kind="invalid", message=f"{name} is there twice")
    for host in (hosts[0], authority) if authority else hosts:
        if not _is_ours(host, over_tcp=over_tcp):
            return _forbidden(f"the host {host[:100]!r} is not this daemon: use localhost")
    own = f"http://{hosts[0]}"
    origin = headers.get("Origin")
    if origin is not None and origin != own:
        return _forbidden("requests of other web pages (Origin) are refused")
    referer = headers.get("Referer")
    if referer is not None and referer != own and not referer.startswith(own + "/"):
        return _forbidden("requests of other web pages (Referer) are refused")
    if headers.get("Sec-Fetch-Site", "none") not in _OWN_SITE:
        return _forbidden("requests of other web pages (Sec-Fetch-Site) are refused")
    if method in ("POST", "PUT", "PATCH"):
        return _judge_body(headers)
    return None


def bearer(headers: Mapping[str, str]) -> str | None:
    """Give the token of a request, in OpenAI's or in Anthropic's place."""
    scheme, _, token = headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return token.strip()
    return headers.get("X-Api-Key")


def browsers_token(headers: Mapping[str, str], query: Mapping[str, str]) -> str | None:
    """Give the token of somebody who looks: from the address, or the cookie made of it."""
    if "token" in query:
        return query["token"]
    for pair in headers.get("Cookie", "").split(";"):
        name, _, value = pair.strip().partition("=")
        if name == TOKEN_COOKIE:
            return value
    return None


def _judge_body(headers: Mapping[str, str]) -> Refusal | None:
    if "Content-Length" in headers and "Transfer-Encoding" in headers:
        return Refusal(status=400, kind="invalid", message="two lengths for one body")
    if headers.get("Transfer-Encoding", "chunked").strip().lower() != "chunked":
        return Refusal(status=400, kind="invalid", message="a body is sent plain, or in chunks")
    kind = headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        return Refusal(status=415, kind="media_type", message="the body must be application/json")
    if headers.get("Content-Encoding", "identity").strip().lower() != "identity":
        return Refusal(status=415, kind="media_type", message="the body must not be compressed")
    return None


@lru_cache(maxsize=64)
def _is_ours(host: str, *, over_tcp: bool) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname or ""
        urlsplit(f"//{host}").port  # noqa: B018  raises for what is no port
    except ValueError:
        return False
    if any(char in host for char in "/?#@ \t"):
        return False
    # On the Unix socket any name will do that no name server could have an answer for.
    return name in _LOOPBACK or (not over_tcp and bool(name) and "." not in name)


def _forbidden(message: str) -> Refusal:
    return Refusal(status=403, kind="forbidden", message=message)
