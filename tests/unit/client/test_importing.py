"""What `import sutler` costs and leaves alone."""

import subprocess
import sys
import unittest

#: Heavy, or not needed by a process that only asks.
UNWANTED = {
    *("argparse", "asyncio", "concurrent.futures", "dataclasses", "inspect", "logging"),
    *("random", "ssl", "subprocess", "tempfile", "threading", "typing", "uuid"),
}


def told(program):
    """Run a program and give what it prints."""
    return subprocess.run(
        [sys.executable, "-S", "-c", "import sys; sys.path[:0] = %r\n%s" % (sys.path, program)],
        check=True,
        stdout=subprocess.PIPE,
        universal_newlines=True,
    ).stdout.split()


class Importing(unittest.TestCase):
    def test_it_loads_few_modules_and_none_that_is_heavy(self):
        floor = told("import json, socket; print(*sys.modules)")
        loaded = told("import sutler; print(*sys.modules)")
        self.assertLessEqual(len(loaded) - len(floor), 8)
        self.assertLessEqual(len([one for one in loaded if one.startswith("sutler")]), 8)
        self.assertEqual(UNWANTED & set(loaded), set())

    def test_a_call_loads_little_more(self):
        program = """
import os, tempfile
before = set(sys.modules)
import sutler
try:
    sutler.Client(os.devnull).ping()
except sutler.DaemonUnavailable:
    print(*(set(sys.modules) - before))
"""
        loaded = [one for one in told(program) if one in UNWANTED]
        self.assertEqual(loaded, [])

    def test_it_opens_nothing_and_starts_nothing(self):
        program = """
import os
before = os.listdir("/proc/self/fd"), os.listdir("/proc/self/task")
import sutler
client = sutler.Client()
after = os.listdir("/proc/self/fd"), os.listdir("/proc/self/task")
print(before == after)
"""
        self.assertEqual(told(program), ["True"])

    def test_every_public_name_is_there_and_the_rest_is_not(self):
        import sutler

        for name in sutler.__all__:
            self.assertEqual(getattr(sutler, name).__name__, name)
            self.assertIn(name, dir(sutler))
        with self.assertRaisesRegex(AttributeError, "no attribute 'Clinet'"):
            sutler.Clinet  # noqa: B018 -- reading it is the test

    def test_its_documentation_says_what_it_does(self):
        import doctest

        import sutler.testing

        self.assertEqual(doctest.testmod(sutler.testing).failed, 0)
