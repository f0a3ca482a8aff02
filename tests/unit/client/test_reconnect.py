"""Restarts that a client does not notice, and losses that it does."""

import threading

import sutler
from sutler import ShuttingDown
from sutler.testing import Chunks, Drop, Hold, Raw
from tests.unit.client.support import Case, fault, in_threads


class Restarts(Case):
    @fault("O6")
    def test_a_call_lost_in_the_middle_of_its_reply_is_sent_once_more_under_its_id(self):
        daemon = self.daemon(complete=[Drop(b'{"jsonrpc":"2.0","id":1,"result":{"con'), "whole"])
        self.assertEqual(self.client(daemon).complete("x").content, "whole")
        first, second = daemon.asked
        self.assertEqual(first.params["request_id"], second.params["request_id"])
        self.assertEqual((first.connection, second.connection), (1, 2))
        self.assertLess(second.params["timeout_s"], first.params["timeout_s"])

    @fault("O6")
    def test_a_request_that_kills_the_daemon_each_time_is_not_sent_a_third_time(self):
        daemon = self.daemon(complete=[Drop()])
        client = self.client(daemon)
        with self.assertRaises(sutler.ConnectionLost) as caught:
            client.complete("x")
        self.assertTrue(caught.exception.retryable)
        self.assertEqual(daemon.count("complete"), 2)
        self.assertEqual(client.chat("another"), "another")

    @fault("O6")
    @fault("O5")
    def test_every_call_of_every_thread_survives_a_kill(self):
        daemon = self.daemon(complete=[Hold()])
        client = self.client(daemon)

        def work(number):
            if number == 0:
                daemon.wait_for(lambda it: it.count("complete") == 12)
                daemon.stop()
                daemon.reply("complete", lambda asked: asked.params["prompt"])
                daemon.start()
            else:
                text = "call %d" % number
                self.assertEqual(client.complete(text).content, text)

        in_threads(13, work)
        ids = [asked.params["request_id"] for asked in daemon.asked]
        self.assertEqual(len(ids), 24)
        self.assertEqual(set(ids[:12]), set(ids[12:]))
        self.assertEqual(daemon.connections, 2)

    @fault("O5")
    def test_a_daemon_that_is_away_for_a_while_is_waited_for(self):
        daemon = self.daemon(complete=[Hold()])
        client = self.client(daemon)

        def work(number):
            if number:
                self.assertEqual(client.complete("x").content, "x")
                return
            daemon.wait_for(lambda it: it.count("complete") == 1)
            daemon.stop()
            threading.Event().wait(0.3)
            daemon.reply("complete", lambda asked: "x")
            daemon.start()

        in_threads(2, work)
        self.assertEqual(daemon.count("complete"), 2)

    def test_a_daemon_that_does_not_come_back_is_given_up(self):
        daemon = self.daemon(complete=[Hold()])
        client = self.client(daemon, reconnect_s=0.3)

        def work(number):
            if number:
                with self.assertRaises(sutler.DaemonUnavailable):
                    client.complete("x")
            else:
                daemon.wait_for(lambda it: it.count("complete") == 1)
                daemon.stop()

        in_threads(2, work)
        with self.assertRaises(sutler.DaemonUnavailable):
            client.complete("x")

    @fault("O5")
    def test_an_idle_client_does_not_notice_a_restart(self):
        daemon = self.daemon()
        client = self.client(daemon)
        for turn in range(5):
            self.assertEqual(client.chat("turn %d" % turn), "turn %d" % turn)
            daemon.restart()
        self.assertEqual(daemon.count("chat"), 5)

    @fault("O5")
    def test_a_draining_daemon_keeps_what_it_took_and_the_rest_goes_to_the_next(self):
        daemon = self.daemon(
            complete=[Hold("old"), ShuttingDown("draining", retry_after_s=0.01), "new"]
        )
        client = self.client(daemon)
        answers = []

        def work(number):
            if number == 0:
                answers.append(client.complete("x").content)
                return
            daemon.wait_for(lambda it: it.count("complete") == 1)
            answers.append(client.complete("y").content)
            daemon.release()

        in_threads(2, work)
        self.assertEqual(answers, ["new", "old"])
        ids = [asked.params["request_id"] for asked in daemon.asked]
        self.assertEqual(ids[1], ids[2])
        self.assertEqual([asked.connection for asked in daemon.asked], [1, 1, 2])

    def test_a_daemon_that_drains_for_ever_is_given_up(self):
        daemon = self.daemon(chat=[ShuttingDown("draining")])
        with self.assertRaises(ShuttingDown) as caught:
            self.client(daemon, reconnect_s=0.2).chat("x")
        self.assertTrue(caught.exception.retryable)
        self.assertGreater(daemon.count("chat"), 2)

    def test_what_might_be_done_twice_is_not_sent_twice(self):
        daemon = self.daemon()
        daemon.reply("budget.amend", Drop())
        with self.assertRaises(sutler.ConnectionLost) as caught:
            self.client(daemon).call("budget.amend", {"name": "x"})
        self.assertFalse(caught.exception.retryable)
        self.assertEqual(daemon.count("budget.amend"), 1)


class Streams(Case):
    @fault("O6")
    def test_a_stream_that_gave_nothing_yet_is_asked_for_again(self):
        daemon = self.daemon(complete=[Drop(), Chunks("a", "b")])
        stream = self.client(daemon).stream("x")
        self.assertEqual([str(chunk) for chunk in stream], ["a", "b"])
        self.assertEqual(stream.result.content, "ab")
        ids = {asked.params["request_id"] for asked in daemon.asked}
        self.assertEqual((len(daemon.asked), len(ids)), (2, 1))

    @fault("C2")
    def test_a_stream_cut_after_a_chunk_is_lost_and_not_passed_off_as_whole(self):
        for end in (Drop(), Drop(b'{"jsonrpc":"2.0","method":"chu'), Raw(b"\xff\n")):
            daemon = self.daemon(complete=[Chunks("a", "b", then=end)])
            stream = self.client(daemon).stream("x")
            self.assertEqual([str(next(stream)), str(next(stream))], ["a", "b"])
            with self.assertRaises(sutler.ConnectionLost) as caught:
                next(stream)
            self.assertTrue(caught.exception.retryable)
            self.assertEqual(list(stream), [])
            with self.assertRaises(sutler.ConnectionLost):
                stream.result  # noqa: B018 -- reading it is the test
            self.assertEqual(daemon.count("complete"), 1)
            daemon.stop()

    def test_a_stream_refused_by_a_draining_daemon_goes_to_the_next(self):
        daemon = self.daemon(complete=[ShuttingDown("draining"), Chunks("a")])
        self.assertEqual([str(chunk) for chunk in self.client(daemon).stream("x")], ["a"])


class Embeddings(Case):
    @fault("O6")
    def test_texts_are_embedded_once_although_the_connection_was_lost(self):
        daemon = self.daemon()
        client = self.client(daemon)
        whole = client.embed(["a"])
        daemon.reply("embed", Drop(), lambda asked: whole.to_dict())
        self.assertEqual(client.embed(["a"]).rows, whole.rows)
        lost, again = daemon.asked[1:]
        self.assertEqual(lost.params["request_id"], again.params["request_id"])
        self.assertEqual(lost.params["texts"], again.params["texts"])
