"""Who may see the status page through a relay of `sutler.relay`: one browser of this user.

The address that the user is given holds a token that opens once. It becomes a cookie of the
relay's own, and leaves the address. Only ``GET`` of the page and of its events passes; what
goes to the daemon is a request made here, one a connection, with nothing of the browser's in
it. A loopback port is open to every user of the machine, and a command line that starts a
browser is there for all to read: where the kernel says that a connection is another user's,
it gets nothing, whatever it knows.
"""

from __future__ import annotations

import hmac
import os
import secrets
import sys

from sutler.relay import Verdict

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Dict, List, Optional, Tuple

_PATHS = ("/", "/events")
_REASONS = {
    303: "See Other",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    503: "Service Unavailable",
}
_USED = "this address was used already: start `sutler page` again for a new one\n"
_FOREIGN = "this port is for the browser of one user, not for other web pages\n"
#: A page that could not be had is asked for again by the browser, after so many seconds.
_AGAIN_S = 3
_ESTABLISHED = "01"
NOBODY = -1


class PageDoor:
    """Lets in who comes with the address, then with the cookie, of a relay's page.

    ``uid_of`` tells whose a connection is, by its port there and the relay's; None: unknown.
    """

    def __init__(self, uid_of: Optional[Callable[[int, int], Optional[int]]] = None) -> None:
        self._uid_of = uid_of_connection if uid_of is None else uid_of
        self._token: Optional[str] = secrets.token_urlsafe(32)
        self._cookie = secrets.token_urlsafe(32)

    def address(self, port: int) -> str:
        """Give where the page is to be opened, once. Raises ValueError when it has been."""
        if self._token is None:
            raise ValueError("the address has been used")
        return "http://127.0.0.1:%d/?token=%s" % (port, self._token)

    def judge(self, head: bytes, port: int, peer_port: int) -> Verdict:
        """Judge the one request of a connection from ``peer_port`` to ``port``."""
        parsed = _parse(head)
        if parsed is None:
            return _refused(400, "that is no request\n")
        method, target, fields = parsed
        refused = _foreign(fields, port)
        if refused is None and self._uid_of(peer_port, port) not in (None, 0, os.geteuid()):
            refused = _refused(403, "this port is another user's\n")
        if refused is not None:
            return refused
        if method != "GET":
            return _refused(405, "only GET\n", "Allow: GET\r\n")
        path, _, query = target.partition("?")
        if path == "/" and query.startswith("token="):
            return self._open(query[len("token=") :], fields, port)
        if not self._knows(fields, port):
            return _refused(401, "open the address that `sutler page` has printed\n")
        if path not in _PATHS:
            return _refused(404, "there is nothing here\n")
        wanted = "GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n" % path
        return Verdict(head=wanted.encode(), one_request=True)

    def unreachable(self, why: str) -> bytes:
        """Give the answer to a request that the daemon cannot be asked; it is asked again."""
        said = "sutlerd cannot be reached, this page tries again: %s\n" % why
        return _answer(503, said, "Refresh: %d\r\n" % _AGAIN_S)

    def _open(self, given: str, fields: Dict[str, List[str]], port: int) -> Verdict:
        """Take the token out of the address, where it would be seen and kept, into a cookie."""
        header = ""
        if self._token is not None and _same(given, self._token):
            self._token = None
            header = "Set-Cookie: %s=%s; HttpOnly; SameSite=Strict; Path=/\r\n" % (
                _cookie_name(port),
                self._cookie,
            )
        elif not self._knows(fields, port):
            return _refused(401, _USED if self._token is None else "the token is wrong\n")
        return _refused(303, "", "Location: /\r\n" + header)

    def _knows(self, fields: Dict[str, List[str]], port: int) -> bool:
        for line in fields.get("cookie", []):
            for pair in line.split(";"):
                name, _, value = pair.strip().partition("=")
                if name == _cookie_name(port) and _same(value, self._cookie):
                    return True
        return False


def uid_of_connection(peer_port: int, port: int) -> Optional[int]:
    """Ask the kernel who holds the other end of a loopback connection.

    Gives None where it does not say at all, and `NOBODY` where it does, but not of this one:
    an end that is half closed, say, which could be told the answer all the same.
    """
    home = "%08X" % int.from_bytes(b"\x7f\x00\x00\x01", sys.byteorder)
    mark = "%08X" % int.from_bytes(b"\x00\x00\xff\xff", sys.byteorder)
    # A socket of the newer family reaches 127.0.0.1 as well, and is listed with its own.
    tables = (("/proc/net/tcp", home), ("/proc/net/tcp6", "0" * 16 + mark + home))
    told = False
    for table, address in tables:
        here, there = "%s:%04X" % (address, peer_port), "%s:%04X" % (address, port)
        try:
            with open(table, encoding="ascii") as lines:
                for line in lines:
                    words = line.split()
                    if words[1:4] == [here, there, _ESTABLISHED]:
                        return int(words[7])
                told = True
        except (OSError, ValueError, IndexError):
            pass  # no /proc, or not as we know it: the token and the cookie decide alone
    return NOBODY if told else None


def _parse(head: bytes) -> Optional[Tuple[str, str, Dict[str, List[str]]]]:
    """Give method, target and fields of a request's head; None if it is not plainly one."""
    lines = head.decode("latin-1").split("\r\n")
    words = lines[0].split(" ")
    if len(words) != 3 or words[2] not in ("HTTP/1.1", "HTTP/1.0") or words[1][:1] != "/":
        return None
    fields: Dict[str, List[str]] = {}
    for line in lines[1:]:
        if not line:
            break
        name, colon, value = line.partition(":")
        if not colon or not name or name != name.strip():
            return None
        fields.setdefault(name.lower(), []).append(value.strip())
    return words[0], words[1], fields


def _foreign(fields: Dict[str, List[str]], port: int) -> Optional[Verdict]:
    """Refuse what another web page, or a name that was pointed here, has a browser send."""
    hosts = fields.get("host", [])
    if len(hosts) != 1 or hosts[0] not in ("127.0.0.1:%d" % port, "localhost:%d" % port):
        return _refused(403, _FOREIGN)
    own = "http://" + hosts[0]
    if any(origin != own for origin in fields.get("origin", [])):
        return _refused(403, _FOREIGN)
    if any(site not in ("none", "same-origin") for site in fields.get("sec-fetch-site", [])):
        return _refused(403, _FOREIGN + "paste the address into the browser's own field\n")
    return None


def _same(given: str, kept: str) -> bool:
    return hmac.compare_digest(given.encode("latin-1", "replace"), kept.encode())


def _cookie_name(port: int) -> str:
    # Cookies of one host are shared by its ports, and several relays may run.
    return "sutler_page_%d" % port


def _refused(status: int, said: str, headers: str = "") -> Verdict:
    return Verdict(answer=_answer(status, said, headers))


def _answer(status: int, said: str, headers: str = "") -> bytes:
    body = said.encode()
    head = (
        "HTTP/1.1 %d %s\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n"
        "Cache-Control: no-store\r\nReferrer-Policy: no-referrer\r\n"
        "X-Content-Type-Options: nosniff\r\n%sContent-Length: %d\r\n\r\n"
        % (status, _REASONS[status], headers, len(body))
    )
    return head.encode("latin-1") + body
