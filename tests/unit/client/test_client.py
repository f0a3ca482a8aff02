"""The blocking client against a scripted daemon."""

import json
import time

import sutler
from sutler import Client, Message
from sutler.testing import Chunks, Drop, FakeDaemon, Hold, Raw, reply
from tests.unit.client.support import PATIENCE_S, Case, fault, in_threads


class Methods(Case):
    def test_each_method_gives_its_value(self):
        client = self.client(self.daemon(json=[reply("{}", parsed={"a": [1]})]))
        self.assertEqual(client.complete("hello").content, "hello")
        self.assertEqual(client.complete([Message.user("a"), Message.user("b")]).content, "b")
        self.assertEqual(client.chat("hi", "be kind"), "hi")
        self.assertEqual(client.json("list", {"type": "object"}), {"a": [1]})
        self.assertEqual(client.count_tokens("a b c").tokens, 3)
        self.assertEqual(client.models()[0]["id"], "fake-model")
        self.assertEqual(client.status()["state"], "serving")
        self.assertIn("entries", client.cache_stats())
        self.assertIn("removed", client.cache_clear())
        self.assertEqual(client.hello()["protocol"], 1)
        self.assertIsNone(client.ping())
        self.assertEqual(client.call("ping"), {})
        vectors = client.embed(["x", "y", "x"])
        self.assertEqual(vectors[0], vectors[2])
        self.assertNotEqual(vectors[0], vectors[1])

    def test_every_call_is_one_line_with_an_id_a_limit_and_the_labels(self):
        daemon = self.daemon()
        client = self.client(daemon, labels={"component": "planner"})
        client.chat("Grüße", "s", timeout_s=5, labels={"rank": "1"})
        client.chat("again")
        client.status()
        first, second, third = daemon.asked
        self.assertEqual(
            first.params,
            {
                "prompt": "Grüße",
                "system": "s",
                "request_id": first.params["request_id"],
                "labels": {"component": "planner", "rank": "1"},
                "timeout_s": 5.0,
            },
        )
        self.assertIn("Grüße".encode(), first.line)
        self.assertNotIn(b" ", first.line)
        self.assertNotEqual(first.params["request_id"], second.params["request_id"])
        self.assertEqual(second.params["timeout_s"], PATIENCE_S)
        self.assertEqual(third.params, {})
        self.assertEqual(daemon.connections, 1)

    def test_the_callers_own_request_id_is_kept(self):
        daemon = self.daemon()
        self.assertEqual(self.client(daemon).complete("x", request_id="mine").request_id, "mine")

    @fault("C9")
    @fault("C6")
    def test_what_cannot_be_sent_raises_and_nothing_is_sent(self):
        daemon = self.daemon()
        client = self.client(daemon)
        for wrong in ({"temperature": float("nan")}, {"extra": {"x": "\ud800"}}):
            with self.assertRaises(sutler.InvalidRequest):
                client.complete("x", **wrong)
        with self.assertRaises(sutler.InvalidRequest):
            client.chat("x" * (16 * 1024 * 1024))
        with self.assertRaises(sutler.InvalidRequest):
            list(client.stream("\udfff"))
        self.assertEqual(client.chat("fine"), "fine")
        self.assertEqual([one.method for one in daemon.asked], ["chat"])
        self.assertEqual(daemon.connections, 1)

    def test_an_error_of_the_daemon_is_raised_as_its_class(self):
        told = sutler.BudgetExceeded("no money", data={"budget": "daily"})
        client = self.client(self.daemon(complete=[told]))
        with self.assertRaises(sutler.BudgetExceeded) as caught:
            client.complete("x", request_id="r-7")
        self.assertEqual(caught.exception.data, {"budget": "daily"})
        self.assertEqual(caught.exception.request_id, "r-7")
        with self.assertRaises(sutler.MethodNotFound):
            client.call("no.such.method")

    @fault("O7")
    def test_unknown_fields_of_a_newer_daemon_do_not_disturb(self):
        client = self.client(
            self.daemon(
                complete=[reply("x", mood="fine")],
                hello=[{"protocol": 99, "version": "9", "more": []}],
            )
        )
        self.assertEqual(client.complete("x").to_dict()["mood"], "fine")
        self.assertEqual(client.hello()["protocol"], 99)

    def test_a_large_answer_and_a_large_question_pass_at_once(self):
        daemon = self.daemon()
        text = "ü" * 3_000_000
        self.assertEqual(self.client(daemon).chat(text), text)

    def test_nothing_is_opened_before_the_first_call(self):
        client = Client(self.path("nobody.sock"))
        client.close()
        daemon = self.daemon()
        self.client(daemon)
        self.assertEqual(daemon.connections, 0)

    def test_a_closed_client_says_so(self):
        daemon = self.daemon()
        with Client(daemon.socket_path) as client:
            client.ping()
        with self.assertRaisesRegex(sutler.ConnectionLost, "the client was closed"):
            client.ping()
        with self.assertRaisesRegex(sutler.ConnectionLost, "the client was closed"):
            client.stream("x")


class Time(Case):
    def test_the_limit_holds_although_the_daemon_is_silent_and_the_call_is_cancelled(self):
        daemon = self.daemon(complete=[Hold()])
        client = self.client(daemon)
        with self.assertRaises(sutler.Timeout) as caught:
            client.complete("x", timeout_s=0.1)
        self.assertTrue(caught.exception.retryable)
        self.assertEqual(caught.exception.request_id, daemon.asked[0].params["request_id"])
        daemon.wait_for(lambda it: len(it.cancelled) == 1)
        self.assertEqual(client.chat("next"), "next")
        self.assertEqual(daemon.connections, 1)

    def test_the_daemons_own_answer_that_time_is_over_comes_first(self):
        told = sutler.Timeout("the deadline passed in the queue", data={"queued_ms": 100})
        client = self.client(self.daemon(complete=[told]))
        with self.assertRaisesRegex(sutler.Timeout, "in the queue"):
            client.complete("x", timeout_s=0.1)

    def test_a_late_answer_goes_to_nobody(self):
        daemon = self.daemon(complete=[Hold("late")], chat=["right"])
        client = self.client(daemon)
        with self.assertRaises(sutler.Timeout):
            client.complete("x", timeout_s=0.05)
        late = '{"jsonrpc":"2.0","id":1,"result":{"content":"late"}}\n'.encode()
        daemon.reply("chat", lambda asked: Raw(late + answer(asked, "right")))
        self.assertEqual(client.chat("y"), "right")

    def test_a_silent_reader_on_the_other_side_ends_at_the_limit(self):
        listener = self.listener()
        client = self.client(timeout_s=0.2)
        with self.assertRaises(sutler.Timeout):
            client.chat("x" * 4_000_000)
        with self.assertRaises(sutler.Timeout):  # the half line's connection is not used again
            client.chat("y")
        first, _ = listener.accept()
        second, _ = listener.accept()
        with first, second:
            self.assertIn(b'"y"', second.recv(1000))


def answer(asked, content):
    return json.dumps({"id": asked.id, "result": reply(content)}).encode() + b"\n"


class Threads(Case):
    def test_many_threads_share_one_connection_and_get_their_own_answers(self):
        daemon = self.daemon()
        client = self.client(daemon)

        def work(number):
            for turn in range(60):
                text = "%d/%d" % (number, turn)
                if turn % 20 == 7:
                    stream = client.stream(text + " and more")
                    self.assertEqual("".join(map(str, stream)).split()[0], text)
                    self.assertEqual(stream.result.content, text + " and more")
                else:
                    self.assertEqual(client.complete(text).content, text)

        in_threads(16, work)
        self.assertEqual(daemon.connections, 1)
        self.assertEqual(daemon.count("complete"), 16 * 60)

    def test_a_slow_answer_keeps_nobody_waiting(self):
        daemon = self.daemon(complete=[Hold("slow")])
        client = self.client(daemon)
        answers = []

        def work(number):
            if number == 0:
                answers.append(client.complete("x").content)
                return
            daemon.wait_for(lambda it: it.count("complete") == 1)
            answers.extend(client.chat("quick") for _ in range(20))
            if number == 1:
                daemon.release()

        in_threads(4, work)
        self.assertEqual(answers.count("quick"), 60)
        self.assertEqual(answers.count("slow"), 1)

    def test_the_reader_that_runs_out_of_time_hands_on_its_role(self):
        daemon = self.daemon(complete=[Hold("whole")])
        client = self.client(daemon)
        got = []

        def work(number):
            if number == 0:
                with self.assertRaises(sutler.Timeout):
                    client.complete("first", timeout_s=0.3)
                daemon.wait_for(lambda it: len(it.cancelled) == 1)
                daemon.release()
            else:
                daemon.wait_for(lambda it: it.count("complete") >= 1)
                got.append(client.complete("second").content)

        in_threads(4, work)
        self.assertEqual(got, ["whole"] * 3)

    def test_many_large_lines_at_once_arrive_whole(self):
        daemon = self.daemon()
        client = self.client(daemon)

        def work(number):
            text = chr(ord("a") + number) * 700_000
            for _ in range(3):
                self.assertEqual(client.chat(text), text)

        in_threads(6, work)
        self.assertEqual(daemon.connections, 1)

    def test_closing_ends_the_calls_of_other_threads(self):
        daemon = self.daemon(complete=[Hold()])
        client = self.client(daemon)

        def work(number):
            if number:
                with self.assertRaises(sutler.ConnectionLost):
                    client.complete("x")
            else:
                daemon.wait_for(lambda it: it.count("complete") == 3)
                client.close()

        in_threads(4, work)


class Streams(Case):
    def test_chunks_come_one_by_one_and_the_whole_reply_at_the_end(self):
        pieces = ("Gr", {"reasoning": "hm"}, "üße")
        daemon = self.daemon(complete=[Chunks(*pieces)])
        stream = self.client(daemon).stream("x", temperature=0)
        with self.assertRaises(RuntimeError):
            stream.result  # noqa: B018 -- reading it is the test
        self.assertEqual([chunk.to_dict() for chunk in stream][1], {"reasoning": "hm"})
        self.assertEqual(stream.result.content, "Grüße")
        self.assertEqual(list(stream), [])
        self.assertIs(daemon.asked[0].params["stream"], True)

    def test_closing_a_stream_cancels_it_and_the_connection_goes_on(self):
        daemon = self.daemon(complete=[Chunks("a", then=Hold())])
        client = self.client(daemon)
        with client.stream("x") as stream:
            self.assertEqual(next(stream).content, "a")
        daemon.wait_for(lambda it: len(it.cancelled) == 1)
        with self.assertRaises(sutler.Cancelled):
            stream.result  # noqa: B018 -- reading it is the test
        self.assertEqual(list(stream), [])
        self.assertEqual(client.chat("y"), "y")
        self.assertEqual(daemon.connections, 1)

    def test_a_stream_that_is_let_go_is_cancelled_with_the_next_call(self):
        daemon = self.daemon(complete=[Chunks("a", then=Hold())])
        client = self.client(daemon)
        stream = client.stream("x")
        next(stream)
        del stream
        client.ping()
        daemon.wait_for(lambda it: len(it.cancelled) == 1)

    def test_the_daemons_error_ends_a_stream_once(self):
        told = sutler.ProviderUnavailable("all routes failed")
        stream = self.client(self.daemon(complete=[Chunks("a", then=told)])).stream("x")
        self.assertEqual(next(stream).content, "a")
        with self.assertRaises(sutler.ProviderUnavailable):
            next(stream)
        self.assertEqual(list(stream), [])
        with self.assertRaises(sutler.ProviderUnavailable):
            stream.result  # noqa: B018 -- reading it is the test

    def test_a_broken_result_at_its_end_is_an_error_that_stays(self):
        stream = self.client(self.daemon(complete=[Chunks("a", then=5)])).stream("x")
        self.assertEqual(next(stream).content, "a")
        with self.assertRaises(sutler.InternalError):
            next(stream)
        with self.assertRaises(sutler.InternalError):
            stream.result  # noqa: B018 -- reading it is the test

    def test_a_silent_stream_ends_at_its_limit(self):
        daemon = self.daemon(complete=[Chunks("a", then=Hold())])
        stream = self.client(daemon).stream("x", timeout_s=0.1)
        self.assertEqual(next(stream).content, "a")
        with self.assertRaises(sutler.Timeout):
            next(stream)
        daemon.wait_for(lambda it: len(it.cancelled) == 1)

    def test_pieces_that_nobody_takes_are_kept_whole(self):
        words = ["%d " % number for number in range(20_000)]
        daemon = self.daemon(complete=[Chunks(*words)])
        client = self.client(daemon)
        stream = client.stream("x")
        client.ping()  # reads for both
        self.assertEqual("".join(map(str, stream)), "".join(words))
        self.assertEqual(stream.result.content, "".join(words))


class Refusals(Case):
    def test_what_a_full_daemon_says_at_the_door_is_what_the_caller_gets(self):
        full = b'{"jsonrpc":"2.0","id":null,"error":{"code":-32007,"message":"full","data":'
        full += b'{"type":"overloaded","retryable":true,"retry_after_s":1.5,"request_id":null}}}\n'
        listener = self.listener()
        client = self.client()
        caught = []

        def work(number):
            if number == 0:
                accepted, _ = listener.accept()
                accepted.sendall(full)
                accepted.close()
                return
            with self.assertRaises(sutler.Overloaded) as refused:
                client.chat("x")
            caught.append(refused.exception.retry_after_s)

        in_threads(2, work)
        self.assertEqual(caught, [1.5])

    def test_a_daemon_that_talks_nonsense_is_left(self):
        daemon = self.daemon(chat=[Raw(b"Hello, who is there?\n"), "sense"])
        self.assertEqual(self.client(daemon).chat("x"), "sense")
        self.assertEqual(daemon.connections, 2)
        daemon.reply("chat", Raw(b"Hello, who is there?\n"))
        with self.assertRaisesRegex(sutler.ConnectionLost, "what is not JSON.*Hello"):
            self.client(daemon).chat("x")

    def test_a_daemon_that_always_closes_is_not_asked_for_ever(self):
        daemon = self.daemon(chat=[Drop()])
        began_s = time.monotonic()
        with self.assertRaises(sutler.ConnectionLost):
            self.client(daemon).chat("x")
        self.assertEqual(daemon.count("chat"), 2)
        self.assertLess(time.monotonic() - began_s, PATIENCE_S)


class Fake(Case):
    def test_it_says_what_did_not_happen(self):
        with FakeDaemon() as daemon, self.assertRaisesRegex(AssertionError, "did not happen"):
            daemon.wait_for(lambda it: it.count() == 1, timeout_s=0.01)

    def test_functions_answer_and_the_last_answer_stays(self):
        daemon = self.daemon(chat=["one", lambda asked: asked.params["prompt"].upper()])
        client = self.client(daemon)
        self.assertEqual([client.chat(text) for text in "abc"], ["one", "B", "C"])
        self.assertIn("'chat'", repr(daemon.asked[0]))

    def test_what_is_no_request_is_refused(self):
        import socket

        daemon = self.daemon()
        with socket.socket(socket.AF_UNIX) as bare:
            bare.connect(daemon.socket_path)
            bare.sendall(b"nonsense\n")
            self.assertIn(b'"invalid_request"', bare.recv(1000))

    def test_it_stops_when_its_thread_was_quicker_than_whoever_stops_it(self):
        daemon = self.daemon()
        daemon._stopping = True
        daemon._wake_in.send(b"x")
        daemon._thread.join(PATIENCE_S)
        daemon.stop()
        daemon.start()
        self.assertTrue(self.client(daemon).chat("again"))
