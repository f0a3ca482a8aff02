"""What the client's tests share. Python 3.8 and the standard library, like the client itself.

These tests are written for unittest, because they also run on interpreters that have nothing
else; where pytest is there, it runs them too, and `fault` is its marker.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import threading
import unittest

from sutler import Client
from sutler.testing import FakeDaemon

try:
    from pytest import mark

    fault = mark.fault
    filterwarnings = mark.filterwarnings
except ImportError:

    def fault(number):
        return lambda test: test

    filterwarnings = fault


#: Long enough for a loaded machine; nothing waits for it unless a test fails.
PATIENCE_S = 30.0


class Case(unittest.TestCase):
    """A folder, and what is to be undone, per test."""

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="sutler-test-")
        self.addCleanup(shutil.rmtree, self.folder, True)

    def path(self, name="s.sock"):
        return os.path.join(self.folder, name)

    def daemon(self, **script):
        """Start a scripted daemon; ``script`` maps a method to its answers."""
        daemon = FakeDaemon(self.path()).start()
        self.addCleanup(daemon.stop)
        for method, answers in script.items():
            daemon.reply(method, *answers)
        return daemon

    def client(self, daemon=None, **settings):
        settings.setdefault("timeout_s", PATIENCE_S)
        client = Client(self.path() if daemon is None else daemon.socket_path, **settings)
        self.addCleanup(client.close)
        return client

    def listener(self, name="s.sock", backlog=8):
        """Listen with a bare socket."""
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.addCleanup(listening.close)
        listening.bind(self.path(name))
        listening.listen(backlog)
        return listening

    def script(self, text, *arguments, **options):
        """Run a Python program in a process of its own, its folder the test's."""
        if "os.setuid(" in text or "os.chroot(" in text:
            # From there it cannot write where the coverage of this run is kept.
            environ = options.setdefault("env", dict(os.environ))
            environ.pop("COVERAGE_PROCESS_CONFIG", None)
        process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(text), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            universal_newlines=True,
            **options,
        )
        self.addCleanup(_end, process)
        return process


def _end(process):
    if process.poll() is None:
        process.send_signal(signal.SIGCONT)
        process.kill()
    process.communicate()


def in_threads(count, work):
    """Run ``work(number)`` in so many threads; re-raise the first error of any."""
    errors = []

    def run(number):
        try:
            work(number)
        except BaseException as error:  # noqa: BLE001 -- re-raised where the test sees it
            errors.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


@contextlib.contextmanager
def environment(**variables):
    """Set variables (None: unset) for a while."""
    before = {name: os.environ.get(name) for name in variables}
    _set(variables)
    try:
        yield
    finally:
        _set(before)


def _set(variables):
    for name, value in variables.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
