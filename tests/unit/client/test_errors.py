"""One tree of errors, total over the wire's table."""

import pickle
import unittest

import sutler
from sutler import errors, wire
from sutler.errors import from_wire

#: Types that share a class because a caller does the same about them.
SHARED = {"parse_error": "invalid_request"}
LOCAL = {"daemon_unavailable", "connection_lost"}


def leaves():
    bases = (errors.SutlerError, errors.CallerFault, errors.DaemonFault, errors.ProviderFault)
    every = [value for value in vars(errors).values() if isinstance(value, type)]
    return [one for one in every if issubclass(one, errors.SutlerError) and one not in bases]


class Errors(unittest.TestCase):
    def test_the_table_is_total(self):
        self.assertEqual(set(errors.CLASSES), set(wire.ERRORS))
        for kind, leaf in errors.CLASSES.items():
            self.assertEqual(leaf.type, SHARED.get(kind, kind))
        self.assertEqual({leaf.type for leaf in leaves()}, (set(wire.ERRORS) - set(SHARED)) | LOCAL)

    def test_whose_fault_it_is_is_part_of_the_type(self):
        sides = (errors.CallerFault, errors.DaemonFault, errors.ProviderFault)
        for leaf in leaves():
            self.assertEqual(sum(issubclass(leaf, side) for side in sides), 1, leaf)

    def test_every_leaf_is_exported(self):
        for leaf in leaves():
            self.assertIs(getattr(sutler, leaf.__name__), leaf)
            self.assertIn(leaf.__name__, sutler.__all__)

    def test_an_error_carries_what_the_wire_said(self):
        error = from_wire(
            {
                "code": -32002,
                "message": "wait a little",
                "data": {
                    "type": "rate_limited",
                    "retryable": True,
                    "retry_after_s": 2.5,
                    "request_id": "r-1",
                    "bucket": "tokens",
                },
            }
        )
        self.assertIsInstance(error, sutler.RateLimited)
        self.assertEqual(str(error), "wait a little")
        self.assertEqual(
            (error.code, error.type, error.retryable, error.retry_after_s, error.request_id),
            (-32002, "rate_limited", True, 2.5, "r-1"),
        )
        self.assertEqual(error.data, {"bucket": "tokens"})
        self.assertIn("request_id='r-1'", repr(error))
        again = pickle.loads(pickle.dumps(error))
        self.assertEqual((again.data, again.retry_after_s), (error.data, 2.5))

    def test_what_is_left_out_comes_from_the_table(self):
        for kind, (code, retryable) in wire.ERRORS.items():
            for error in (
                from_wire({"data": {"type": kind}}),
                from_wire({"code": code, "message": "", "data": None}),
            ):
                self.assertEqual(error.code, code)
                self.assertEqual(error.retryable, retryable)
                self.assertEqual(error.type, kind)
                self.assertTrue(str(error))

    def test_a_type_of_a_later_version_is_a_plain_error_that_keeps_its_fields(self):
        error = from_wire(
            {"code": -32099, "message": "m", "data": {"type": "moon_phase", "retryable": True}}
        )
        self.assertIs(type(error), sutler.SutlerError)
        self.assertEqual((error.code, error.type, error.retryable), (-32099, "moon_phase", True))

    def test_wrong_parameters_list_their_problems(self):
        error = from_wire({"data": {"type": "invalid_params", "problems": ["a: b", "c: d"]}})
        self.assertEqual(error.problems, ["a: b", "c: d"])
        self.assertEqual(sutler.InvalidParams("x: y").problems, ["x: y"])
