"""Many prompts at once: order, bounds, patience, losses."""

import threading

import sutler
from sutler import Message
from sutler.testing import Chunks, Drop, Hold
from tests.unit.client.support import Case, fault


def echo(asked):
    return asked.params["prompt"]


def contents(replies):
    return [reply.content for reply in replies]


class Order(Case):
    def test_replies_come_in_the_order_of_the_prompts(self):
        prompts = ["p%d" % number for number in range(500)]
        daemon = self.daemon(complete=[echo])
        replies = self.client(daemon).map(iter(prompts), temperature=0.5)
        self.assertEqual(contents(replies), prompts)
        self.assertEqual(daemon.connections, 1)
        self.assertEqual({asked.params["temperature"] for asked in daemon.asked}, {0.5})
        self.assertEqual(len({asked.params["request_id"] for asked in daemon.asked}), 500)

    def test_prompts_may_be_conversations_or_have_options_of_their_own(self):
        daemon = self.daemon()
        asked = ["a", Message.user("b"), [{"role": "user", "content": "c"}]]
        asked += [{"prompt": "d", "model": "m"}, {"messages": [Message.user("e")]}]
        replies = self.client(daemon).map(asked, model="default")
        self.assertEqual(contents(replies), list("abcde"))
        self.assertEqual([one.params["model"] for one in daemon.asked][3:], ["m", "default"])

    def test_nothing_to_ask_asks_nothing(self):
        self.assertEqual(list(self.client(self.daemon()).map([])), [])

    def test_a_slow_answer_holds_up_the_order_but_not_the_work(self):
        daemon = self.daemon(complete=[Hold("first"), echo])
        taken = []

        def prompts():
            for number in range(12):
                taken.append(number)
                yield "p%d" % number

        replies = self.client(daemon).map(prompts(), max_in_flight=2)
        thread = threading.Thread(
            target=lambda: (
                daemon.wait_for(lambda it: it.count("complete") == 12),
                daemon.release(),
            )
        )
        thread.start()
        self.assertEqual(next(replies).content, "first")
        thread.join()
        self.assertEqual(contents(replies), ["p%d" % number for number in range(1, 12)])


class Bounds(Case):
    def test_no_more_than_allowed_are_in_flight_and_prompts_are_read_as_needed(self):
        daemon = self.daemon(complete=[Hold("x")])
        taken = []
        replies = self.client(daemon).map(
            (taken.append(number) or "p" for number in range(1000)), max_in_flight=5
        )
        thread = threading.Thread(
            target=lambda: (
                daemon.wait_for(lambda it: it.count("complete") == 5),
                daemon.release(),
            )
        )
        thread.start()
        next(replies)
        thread.join()
        self.assertLessEqual(len(taken), 10)
        replies.close()
        daemon.wait_for(lambda it: len(it.cancelled) == it.count("complete") - 5)

    def test_answers_that_wait_for_a_slower_one_are_bounded_too(self):
        daemon = self.daemon(complete=[Hold("first"), echo])
        taken = []
        replies = self.client(daemon).map(
            (taken.append(number) or "p" for number in range(1000)), max_in_flight=2
        )
        thread = threading.Thread(
            target=lambda: (
                daemon.wait_for(lambda it: it.count("complete") == 32),
                daemon.release(),
            )
        )
        thread.start()
        next(replies)
        thread.join()
        self.assertLess(len(taken), 100)
        self.assertEqual(len(contents(replies)), 999)

    def test_wrong_arguments_are_found_before_anything_is_asked(self):
        daemon = self.daemon()
        client = self.client(daemon)
        for wrong, error in (
            ({"max_in_flight": 0}, sutler.InvalidParams),
            ({"request_id": "one"}, sutler.InvalidParams),
            ({"timeout_s": -1}, sutler.InvalidParams),
            ({"temprature": 0}, TypeError),
        ):
            with self.assertRaises(error):
                client.map(["x"], **wrong)
        with self.assertRaises(sutler.InvalidParams):
            list(client.map([{"modle": "m"}]))
        self.assertEqual(daemon.count(), 0)


class Failures(Case):
    def test_a_failure_raises_at_its_turn_and_the_rest_is_cancelled(self):
        told = sutler.ProviderError("no")
        daemon = self.daemon(complete=["a", "b", told, Hold()])
        client = self.client(daemon)
        replies = client.map(["p"] * 6)
        self.assertEqual([next(replies).content, next(replies).content], ["a", "b"])
        with self.assertRaises(sutler.ProviderError):
            next(replies)
        self.assertEqual(list(replies), [])
        daemon.wait_for(lambda it: len(it.cancelled) == 3)
        self.assertEqual(client.chat("x"), "x")
        self.assertEqual(daemon.connections, 1)

    def test_failures_may_be_given_instead_of_raised(self):
        daemon = self.daemon(complete=["a", sutler.ProviderError("no"), "c"])
        a, error, c, unsendable = self.client(daemon).map(
            ["p", "p", "p", "\ud800"], return_errors=True
        )
        self.assertEqual((a.content, c.content), ("a", "c"))
        self.assertIsInstance(error, sutler.ProviderError)
        self.assertIsInstance(unsendable, sutler.InvalidRequest)

    def test_each_call_has_its_own_time_limit(self):
        daemon = self.daemon(complete=["a", Hold(), "c"])
        a, late, c = self.client(daemon).map(["p"] * 3, timeout_s=0.1, return_errors=True)
        self.assertEqual((a.content, c.content), ("a", "c"))
        self.assertIsInstance(late, sutler.Timeout)
        daemon.wait_for(lambda it: len(it.cancelled) == 1)

    def test_what_the_daemon_is_too_busy_for_is_asked_again(self):
        busy = sutler.Overloaded("busy", retry_after_s=0.02)
        limited = sutler.RateLimited("wait", retry_after_s=0.02)
        daemon = self.daemon(complete=[busy, limited, busy, echo])
        prompts = ["p%d" % number for number in range(20)]
        self.assertEqual(contents(self.client(daemon).map(prompts, max_in_flight=4)), prompts)
        self.assertEqual(daemon.count("complete"), 23)
        ids = [asked.params["request_id"] for asked in daemon.asked]
        self.assertEqual(len(set(ids)), 20)

    def test_a_daemon_with_too_many_connections_is_asked_again(self):
        full = b'{"id":null,"error":{"message":"full","data":{"type":"overloaded",'
        full += b'"retryable":true,"retry_after_s":0.01}}}\n'
        daemon = self.daemon(complete=[Drop(full), Drop(full), echo])
        prompts = ["p%d" % number for number in range(9)]
        self.assertEqual(contents(self.client(daemon).map(prompts)), prompts)

    def test_what_will_never_fit_is_an_error(self):
        never = sutler.RateLimited("too large", retryable=False)
        with self.assertRaises(sutler.RateLimited):
            list(self.client(self.daemon(complete=[never])).map(["x"]))

    @fault("O6")
    @fault("O5")
    def test_a_restart_in_the_middle_loses_nothing(self):
        daemon = self.daemon(complete=[*["a"] * 10, Drop(), echo])
        prompts = ["a"] * 10 + ["p%d" % number for number in range(90)]
        replies = self.client(daemon).map(prompts, max_in_flight=16)
        self.assertEqual(contents(replies), prompts)
        self.assertEqual(daemon.connections, 2)

    @fault("O5")
    def test_a_draining_daemon_finishes_its_part_and_the_next_does_the_rest(self):
        leaving = sutler.ShuttingDown("draining")
        daemon = self.daemon(complete=[Hold("old"), leaving, leaving, echo])
        replies = self.client(daemon).map(["p%d" % number for number in range(6)])
        thread = threading.Thread(
            target=lambda: (
                daemon.wait_for(lambda it: it.count("complete") == 8),
                daemon.release(),
            )
        )
        thread.start()
        self.assertEqual(contents(replies), ["old", "p1", "p2", "p3", "p4", "p5"])
        thread.join()

    def test_no_daemon_is_one_error(self):
        with self.assertRaises(sutler.DaemonUnavailable):
            list(self.client().map(["x"] * 3))

    def test_other_calls_go_on_beside_it(self):
        daemon = self.daemon(complete=[echo, Chunks("s")])
        client = self.client(daemon)
        replies = client.map(["p"] * 3, max_in_flight=1)
        self.assertEqual(next(replies).content, "p")
        self.assertEqual(client.chat("between"), "between")
        self.assertEqual(len(list(replies)), 2)
