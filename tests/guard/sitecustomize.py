"""Refuse the real network to the tests, and to every Python process that they start.

The tests' process calls ``refuse()``; its children do by finding this file on PYTHONPATH.
Only loopback addresses and Unix sockets connect, and only ``localhost`` resolves. What is
refused raises an error that no product code takes for an ordinary failure of the network.
Read by every Python from 3.8 on that the client is tested with.
"""

import socket


class RealNetworkRefused(RuntimeError):
    """A test, or a process that it started, wanted to leave the machine."""


def check_host(host):
    """Raise unless ``host`` (a name, an address or nothing) is this machine."""
    name = host.decode("ascii") if isinstance(host, (bytes, bytearray)) else host
    if name in (None, "", "localhost", "::1"):
        return
    if name.startswith("::ffff:"):  # IPv4 in the notation of IPv6
        name = name[len("::ffff:") :]
    if not (name.startswith("127.") and name.replace(".", "").isdigit()):
        raise RealNetworkRefused(f"tests reach loopback only, not {name!r}")


def check_address(family, address):
    """Raise unless a socket of ``family`` may talk to ``address``."""
    if family in (socket.AF_INET, socket.AF_INET6):
        check_host(address[0])


def refuse():
    """Put the checks in front of the socket module's own functions, once."""
    if hasattr(socket, "_refused_by_tests"):
        return
    socket._refused_by_tests = True

    class GuardedSocket:
        connect = socket.socket.connect
        connect_ex = socket.socket.connect_ex
        sendto = socket.socket.sendto

    def connect(self, address):
        check_address(self.family, address)
        return GuardedSocket.connect(self, address)

    def connect_ex(self, address):
        check_address(self.family, address)
        return GuardedSocket.connect_ex(self, address)

    def sendto(self, data, *rest):
        check_address(self.family, rest[-1])
        return GuardedSocket.sendto(self, data, *rest)

    socket.socket.connect = connect
    socket.socket.connect_ex = connect_ex
    socket.socket.sendto = sendto
    for name in ("getaddrinfo", "gethostbyname", "gethostbyname_ex"):
        setattr(socket, name, _checked_lookup(getattr(socket, name)))


def _checked_lookup(lookup):
    def checked(host, *args, **kwargs):
        check_host(host)
        return lookup(host, *args, **kwargs)

    return checked


refuse()
