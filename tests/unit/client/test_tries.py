"""When a call is sent again: pure decisions on a clock that the test holds."""

import unittest

from sutler import (
    AccessDenied,
    ConnectionLost,
    DaemonUnavailable,
    InvalidRequest,
    Overloaded,
    ProviderError,
    RateLimited,
    ShuttingDown,
    SutlerError,
)
from sutler.pending import Lost
from sutler.tries import Tries, random_share
from tests.unit.client.support import fault

GONE = Lost("the daemon closed the connection")


def tries(deadline_s=100.0, reconnect_s=30.0, chance=0.5):
    return Tries(deadline_s, reconnect_s, lambda: chance)


class Again(unittest.TestCase):
    @fault("O6")
    def test_a_lost_call_is_sent_once_more_and_lost_again_it_is_an_error(self):
        once = tries()
        self.assertLess(once.lost(GONE, 0.0), 0.1)
        with self.assertRaises(ConnectionLost) as caught:
            once.lost(GONE, 1.0)
        self.assertTrue(caught.exception.retryable)
        self.assertIn("the daemon closed the connection", str(caught.exception))

    def test_what_was_surely_not_sent_does_not_count(self):
        many = tries()
        for second in range(5):
            many.lost(GONE, float(second), sent=False)
        many.lost(GONE, 6.0)
        with self.assertRaises(ConnectionLost):
            many.lost(GONE, 7.0)

    def test_what_this_process_broke_off_itself_does_not_count(self):
        ours = Lost("a call was interrupted", ours=True)
        trying = tries()
        for second in range(5):
            trying.lost(ours, float(second))
        trying.lost(GONE, 6.0)
        with self.assertRaises(ConnectionLost):
            trying.lost(GONE, 7.0)
        with self.assertRaises(ConnectionLost):
            tries().lost(ours, 0.0, repeatable=False)

    def test_what_might_be_done_twice_is_not_sent_twice(self):
        with self.assertRaises(ConnectionLost) as caught:
            tries().lost(GONE, 0.0, repeatable=False)
        self.assertFalse(caught.exception.retryable)
        tries().lost(GONE, 0.0, repeatable=False, sent=False)

    def test_a_stream_that_has_given_a_chunk_is_not_asked_for_again(self):
        with self.assertRaises(ConnectionLost) as caught:
            tries().lost(GONE, 0.0, delivered=True)
        self.assertTrue(caught.exception.retryable)

    @fault("O5")
    def test_while_the_daemon_restarts_it_is_tried_again_until_the_time_is_over(self):
        trying = tries(chance=1.0 - 1e-9)
        now_s, waits = 0.0, []
        trying.lost(GONE, now_s)
        with self.assertRaises(DaemonUnavailable):
            for _ in range(1000):
                waits.append(trying.refused(DaemonUnavailable("no"), now_s))
                now_s += waits[-1]
        self.assertTrue(29.0 <= now_s < 30.0, now_s)
        self.assertEqual(sorted(waits), waits)
        self.assertLessEqual(max(waits), 1.0)

    def test_the_calls_own_time_limit_ends_the_trying_too(self):
        short = tries(deadline_s=0.5)
        short.lost(GONE, 0.0)
        with self.assertRaises(DaemonUnavailable):
            short.refused(DaemonUnavailable("no"), 0.6)

    def test_a_daemon_that_was_never_there_is_not_waited_for(self):
        with self.assertRaises(DaemonUnavailable):
            tries().refused(DaemonUnavailable("no"), 0.0)

    def test_a_draining_daemon_is_asked_again_after_what_it_says(self):
        trying = tries()
        told = ShuttingDown("bye", retry_after_s=3.0)
        self.assertEqual(trying.refused(told, 0.0), 3.0)
        self.assertEqual(trying.refused(told, 10.0), 3.0)
        with self.assertRaises(ShuttingDown):
            trying.refused(told, 28.0)

    def test_any_other_answer_is_the_answer(self):
        for error in (ProviderError("no"), Overloaded("busy"), AccessDenied("no")):
            with self.assertRaises(type(error)):
                tries().refused(error, 0.0)


class LastWords(unittest.TestCase):
    def words(self, kind, **data):
        return Lost("refused", {"message": "m", "data": dict(data, type=kind)})

    def test_why_a_connection_was_refused_is_what_the_caller_gets(self):
        with self.assertRaises(Overloaded) as caught:
            tries().lost(self.words("overloaded", retry_after_s=2.0), 0.0)
        self.assertEqual(caught.exception.retry_after_s, 2.0)
        with self.assertRaises(AccessDenied):
            tries().lost(self.words("access_denied"), 0.0, sent=False)

    def test_a_goodbye_is_not_a_loss(self):
        trying = tries()
        for second in range(3):
            trying.lost(self.words("shutting_down"), float(second))

    def test_a_line_that_was_not_understood_gets_a_second_try_on_its_own(self):
        trying = tries()
        trying.lost(self.words("parse_error"), 0.0)
        with self.assertRaises(InvalidRequest):
            trying.lost(self.words("parse_error"), 1.0)


class Patience(unittest.TestCase):
    def test_a_busy_daemon_is_asked_again_within_the_calls_time(self):
        trying = tries(deadline_s=50.0)
        self.assertEqual(trying.postponed(Overloaded("busy", retry_after_s=4.0), 0.0), 4.0)
        self.assertEqual(trying.postponed(RateLimited("wait", retry_after_s=9.0), 40.0), 9.0)
        with self.assertRaises(RateLimited):
            trying.postponed(RateLimited("wait", retry_after_s=9.0), 42.0)

    def test_what_will_never_fit_is_not_asked_again(self):
        with self.assertRaises(SutlerError):
            tries().postponed(RateLimited("never", retryable=False), 0.0)

    @fault("O5")
    def test_chance_spreads_the_clients(self):
        drawn = {random_share() for _ in range(64)}
        self.assertGreater(len(drawn), 60)
        self.assertTrue(all(0.0 <= share < 1.0 for share in drawn))
