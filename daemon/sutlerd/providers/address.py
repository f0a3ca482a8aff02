"""Where a provider is: base addresses, and which proxy the environment names for them. Pure."""

from __future__ import annotations

import base64
import ipaddress
from collections.abc import Mapping
from urllib.parse import unquote, urlsplit

from sutlerd.domain.record import record

_DEFAULT_PORTS = {"http": 80, "https": 443}


@record
class Address:
    """``path`` has no slash at its end; ``local`` says that the host is this machine."""

    scheme: str
    host: str
    port: int
    path: str = ""

    @property
    def tls(self) -> bool:
        return self.scheme == "https"

    @property
    def local(self) -> bool:
        if self.host == "localhost" or self.host.endswith(".localhost"):
            return True
        literal = ip_literal(self.host)
        return literal is not None and literal.is_loopback

    @property
    def authority(self) -> str:
        """``host:port`` as in a ``Host`` header, the default port left out."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    def join(self, path: str) -> str:
        """Give the whole path of a request, see ``transport.Request``."""
        if path.startswith("/../"):
            return self.path.rpartition("/")[0] + path[3:]
        return self.path + path

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}{self.path}"


@record
class Proxy:
    """An HTTP proxy. ``authorization`` is the value of its header; never shown."""

    address: Address
    authorization: str | None = None

    def __repr__(self) -> str:
        return f"Proxy({self.address.authority})"


def parse_address(url: str) -> Address:
    """Read a base address; ``ValueError`` says what is wrong, without a password in it."""
    parts = urlsplit(url if "://" in url else f"http://{url}")
    if parts.scheme not in _DEFAULT_PORTS:
        raise ValueError(f"the scheme must be http or https, not {parts.scheme!r}")
    if parts.username is not None or parts.password is not None:
        raise ValueError("user and password do not belong in an address")
    if not parts.hostname:
        raise ValueError("no host")
    if parts.query or parts.fragment:
        raise ValueError("a base address has no query and no fragment")
    if not url.isascii() or not url.isprintable() or " " in url:
        raise ValueError("only printable ASCII may be in it")
    port = parts.port if parts.port is not None else _DEFAULT_PORTS[parts.scheme]
    host = parts.hostname.rstrip(".")
    return Address(scheme=parts.scheme, host=host, port=port, path=parts.path.rstrip("/"))


def proxy_for(address: Address, environ: Mapping[str, str]) -> Proxy | None:
    """Give the proxy that ``environ`` names for an address; never one for this machine.

    Raises ``ValueError``, without user or password in it, for one that is not an HTTP proxy:
    going around it in silence would be wrong as well.
    """
    if address.local or _is_excepted(address, _variable(environ, "no_proxy")):
        return None
    url = _variable(environ, f"{address.scheme}_proxy") or _variable(environ, "all_proxy")
    if not url:
        return None
    parts = urlsplit(url if "://" in url else f"http://{url}")
    if parts.scheme != "http" or not parts.hostname:
        shown = f"{parts.scheme}://{parts.hostname or '?'}"
        raise ValueError(f"the proxy {shown} is not an http:// one, which alone are supported")
    authorization = None
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        authorization = "Basic " + base64.b64encode(pair.encode()).decode()
    port = parts.port if parts.port is not None else 80
    proxy = Address(scheme="http", host=parts.hostname, port=port)
    return Proxy(address=proxy, authorization=authorization)


def ip_literal(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _variable(environ: Mapping[str, str], name: str) -> str:
    return environ.get(name) or environ.get(name.upper()) or ""


def _is_excepted(address: Address, exceptions: str) -> bool:
    """Say whether ``NO_PROXY`` excepts a host: names and their subdomains, ``host:port``,
    addresses and networks, ``*``."""
    literal = ip_literal(address.host)
    for entry in exceptions.split(","):
        pattern = entry.strip().lower()
        if not pattern:
            continue
        if pattern == "*":
            return True
        if literal is not None and _is_within(literal, pattern):
            return True
        name, _, port = pattern.partition(":")
        if port and port != str(address.port):
            continue
        name = name.lstrip(".")
        if address.host == name or address.host.endswith(f".{name}"):
            return True
    return False


def _is_within(literal: ipaddress.IPv4Address | ipaddress.IPv6Address, pattern: str) -> bool:
    try:
        return literal in ipaddress.ip_network(pattern.strip("[]"), strict=False)
    except ValueError:
        return False
