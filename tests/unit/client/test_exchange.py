"""Lines out and bytes in, with no socket."""

import json
import math
import random
import unittest

from sutler.errors import InvalidRequest
from sutler.exchange import Exchange, line
from sutler.pending import CHUNK, ERROR, GARBAGE, RESULT
from sutler.wire import MAX_LINE_BYTES
from tests.unit.client.support import fault

REPLIES = (
    '{"jsonrpc":"2.0","method":"chunk","params":{"id":1,"delta":"Grü"}}\n'
    '{"jsonrpc":"2.0","method":"watch","params":{"id":1}}\r\n'
    "\n"
    '{"jsonrpc":"2.0","id":1,"result":{"content":"Grüße 🦆","later":{"x":[1,2]}}}\n'
    ' {"id":2,"error":{"code":-32007,"message":"busy","data":{"type":"overloaded"}}} \n'
    '{"jsonrpc":"2.0","id":3,"result":null}\n'
    '{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"no"}}\n'
).encode()


def events_of(pieces, **limits):
    exchange = Exchange(**limits)
    return [event for piece in pieces for event in exchange.receive(piece)]


class Reading(unittest.TestCase):
    def test_each_kind_of_line_becomes_its_event(self):
        self.assertEqual(
            events_of([REPLIES]),
            [
                (1, CHUNK, {"id": 1, "delta": "Grü"}),
                (1, RESULT, {"content": "Grüße 🦆", "later": {"x": [1, 2]}}),
                (
                    2,
                    ERROR,
                    {"code": -32007, "message": "busy", "data": {"type": "overloaded"}},
                ),
                (3, RESULT, None),
                (None, ERROR, {"code": -32600, "message": "no"}),
            ],
        )

    def test_split_anywhere_the_events_are_the_same(self):
        whole = events_of([REPLIES])
        self.assertEqual(events_of([bytes([byte]) for byte in REPLIES]), whole)
        for at in range(len(REPLIES)):
            self.assertEqual(events_of([REPLIES[:at], REPLIES[at:]]), whole, at)
        chance = random.Random(7)
        for _ in range(200):
            cuts = sorted(chance.sample(range(len(REPLIES)), 5))
            pieces = [REPLIES[a:b] for a, b in zip([0, *cuts], [*cuts, len(REPLIES)])]
            self.assertEqual(events_of(pieces), whole, cuts)

    @fault("O7")
    def test_what_a_newer_daemon_adds_is_ignored(self):
        newer = (
            b'{"jsonrpc":"2.0","method":"notice","params":[1]}\n'
            b'{"jsonrpc":"2.0","method":"chunk","params":5}\n'
            b'{"jsonrpc":"3.0","id":1,"result":{"content":"x","mood":"fine"},"seal":"abc"}\n'
        )
        self.assertEqual(events_of([newer]), [(1, RESULT, {"content": "x", "mood": "fine"})])

    def test_what_is_no_protocol_is_garbage_and_ends_the_reading(self):
        for line_of_it in (
            b"hello",
            b"\xff\xfe",
            b'"text"',
            b"[]",
            b"{}",
            b'{"id":1,"result":1} {"id":2,"result":2}',
            b'{"id":[1],"result":2}',
            b'{"id":"a","result":2}',
            b'{"method":"chunk","params":{"id":{}}}',
            b"[" * 100_000,
        ):
            good = b'{"id":1,"result":{}}\n'
            for events in (
                events_of([good + line_of_it + b"\n" + good]),
                events_of([good, line_of_it, b"\n", good, good]),
            ):
                self.assertEqual([kind for _, kind, _ in events], [RESULT, GARBAGE])
                self.assertIsInstance(events[-1][2], str)
                self.assertLess(len(events[-1][2]), 400)

    def test_a_reply_over_the_limit_is_garbage(self):
        events = events_of([b"x" * 60, b"y" * 60, b"z" * 60, b"\n"], max_reply_bytes=100)
        self.assertEqual([kind for _, kind, _ in events], [GARBAGE])


class Writing(unittest.TestCase):
    def test_a_request_is_one_compact_line(self):
        encoded = line(7, "cache.stats", {"b": "ü", "a": [1, 2.5, None, True], "t": (1,)})
        self.assertEqual(
            encoded.decode(),
            '{"jsonrpc":"2.0","id":7,"method":"cache.stats",'
            '"params":{"b":"ü","a":[1,2.5,null,true],"t":[1]}}\n',
        )

    def test_no_method_name_breaks_out_of_its_line(self):
        name = 'x","id":9,\n"method":"ü'
        self.assertEqual(json.loads(line(7, name, {}).decode())["method"], name)
        self.assertEqual(line(7, name, {}).count(b"\n"), 1)

    @fault("C9")
    def test_what_is_not_json_is_refused_with_its_place(self):
        bad = {
            "nan is not JSON": math.nan,
            "-inf is not JSON": -math.inf,
            "inf is not JSON": 1e400,
            "a lone surrogate at index 1": "a\ud800",
            "the key 1 is not a string": {"1": 0, 1: 0},
            "a lone surrogate at index 0": {"\udfff": 1},
            "beyond 64 bits": 2**64,
            "set is not JSON": {1, 2},
            "bytes is not JSON": b"x",
        }
        for problem, value in bad.items():
            for params, place in (
                ({"top": value}, "params.top"),
                ({"m": [{"x": "ok"}, {"y": [1, {"deep": value}]}]}, "params.m[1].y[1].deep"),
            ):
                with self.assertRaises(InvalidRequest) as caught:
                    line(1, "complete", params)
                self.assertIn(problem, str(caught.exception))
                self.assertTrue(str(caught.exception).startswith(place), str(caught.exception))
                str(caught.exception).encode()

    def test_nesting_over_the_limit_is_refused_and_circles_are_found(self):
        deepest = []
        for _ in range(61):
            deepest = [deepest]
        line(1, "complete", {"x": deepest})
        circle = {}
        circle["again"] = circle
        for value in ([deepest], circle):
            with self.assertRaises(InvalidRequest) as caught:
                line(1, "complete", {"x": value})
            self.assertIn("nested deeper than 64", str(caught.exception))

    @fault("C6")
    def test_a_line_is_measured_before_it_is_sent(self):
        room = MAX_LINE_BYTES + 1 - len(line(1, "chat", {"prompt": ""}))
        self.assertEqual(len(line(1, "chat", {"prompt": "x" * room})), MAX_LINE_BYTES + 1)
        with self.assertRaises(InvalidRequest) as caught:
            line(1, "chat", {"prompt": "x" * (room - 1) + "ü"})
        self.assertEqual(caught.exception.data["size_bytes"], MAX_LINE_BYTES + 1)
        self.assertIn(str(MAX_LINE_BYTES), str(caught.exception))
        self.assertFalse(caught.exception.retryable)
