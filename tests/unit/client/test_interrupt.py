"""Exceptions that come from signal handlers, anywhere in a call."""

import random
import signal
import threading
import time

import sutler
from sutler.testing import Chunks, Hold
from tests.unit.client.support import PATIENCE_S, Case, fault, filterwarnings, in_threads


class Stop(BaseException):
    """What the signal handler raises; like KeyboardInterrupt, no Exception."""


#: Another process, because a thread of this one could only signal while it is let run.
BARRAGE = """
    import os, random, signal, sys, time
    parent = os.getppid()
    while os.getppid() == parent:
        time.sleep(random.uniform(0.0001, float(sys.argv[1])))
        os.kill(parent, signal.SIGUSR1)
"""


# An interrupt between making a socket and keeping it leaves the closing to the collector,
# which tells of it; one in a finalizer cannot be raised.
@filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
class Interrupts(Case):
    """Signals raise Stop in the main thread, once each time that ``armed`` is set."""

    def setUp(self):
        super().setUp()
        self.armed = False
        before = signal.signal(signal.SIGUSR1, self.ring)
        self.addCleanup(signal.signal, signal.SIGUSR1, before)

    def ring(self, number, frame):
        # Who measures coverage holds a lock of its own here, and is not what is tested.
        if self.armed and not frame.f_globals.get("__name__", "").startswith("coverage"):
            self.armed = False
            raise Stop

    def is_stopped(self, work):
        try:
            self.armed = True
            work()
            self.armed = False
        except Stop:
            return True
        finally:
            self.armed = False
        return False

    def under_fire(self, times, work, longest_s=0.001):
        """Do ``work(turn)`` until it was interrupted so often, anywhere in it."""
        work(0)  # loads what is loaded when first used
        barrage = self.script(BARRAGE, str(longest_s))
        until_s = time.monotonic() + PATIENCE_S
        turn = stopped = 0
        while stopped < times and time.monotonic() < until_s:
            turn += 1
            stopped += self.is_stopped(lambda turn=turn: work(turn))
            yield turn
        barrage.kill()
        self.assertEqual(stopped, times)

    @fault("C17")
    def test_a_waiting_call_is_cancelled_and_the_next_gets_its_own_answer(self):
        daemon = self.daemon(complete=[Hold("old")])
        client = self.client(daemon)
        for turn in range(3):

            def send(turn=turn):
                daemon.wait_for(lambda it: it.count("complete") == turn + 1)
                signal.pthread_kill(threading.main_thread().ident, signal.SIGUSR1)

            sender = threading.Thread(target=send)
            sender.start()
            self.assertTrue(self.is_stopped(lambda: client.complete("x")))
            sender.join()
            daemon.wait_for(lambda it, turn=turn: len(it.cancelled) == turn + 1)
            self.assertEqual(client.chat("new"), "new")

    @fault("C17")
    def test_a_real_ctrl_c_ends_only_the_call(self):
        daemon = self.daemon(complete=[Hold("old")])
        program = """
            import sys
            import sutler
            client = sutler.Client(sys.argv[1])
            try:
                client.complete("x")
            except KeyboardInterrupt:
                print(client.chat("after"))
            client.close()
        """
        process = self.script(program, daemon.socket_path)
        daemon.wait_for(lambda it: it.count("complete") == 1)
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.communicate(), ("after\n", ""))
        daemon.wait_for(lambda it: len(it.cancelled) == 1)

    @fault("C17")
    def test_interrupted_anywhere_no_answer_crosses_over(self):
        daemon = self.daemon()
        client = self.client(daemon)
        chance = random.Random(17)
        text = "t" * 30_000

        def work(turn):
            client.chat("%d %s" % (turn, text[: chance.choice((1, 300, 30_000))]))

        for turn in self.under_fire(200, work):
            self.assertEqual(client.chat("after %d" % turn), "after %d" % turn)

    @fault("C17")
    def test_an_interrupted_stream_is_over_and_the_next_one_is_whole(self):
        words = ["%d " % number for number in range(300)]
        daemon = self.daemon(complete=[Chunks(*words)])
        client = self.client(daemon)
        streams = []

        def work(turn):
            streams[:] = [client.stream("x")]
            for _ in streams[0]:
                pass

        for _ in self.under_fire(60, work, longest_s=0.01):
            for stream in streams:
                list(stream)  # goes on only if it was not its own step that was interrupted
                try:
                    self.assertEqual(stream.result.content, "".join(words))
                except sutler.Cancelled:
                    pass
            self.assertEqual("".join(map(str, client.stream("y"))), "".join(words))

    @fault("C17")
    def test_an_interrupted_map_is_over_and_the_client_goes_on(self):
        client = self.client(self.daemon())
        prompts = ["p%d" % number for number in range(40)]

        def work(turn):
            list(client.map(prompts, max_in_flight=8))

        for _ in self.under_fire(60, work, longest_s=0.01):
            self.assertEqual([reply.content for reply in client.map(prompts)], prompts)

    @fault("C17")
    def test_other_threads_answers_survive_the_interrupts_of_the_main_one(self):
        client = self.client(self.daemon())
        done = threading.Event()
        turns = []

        def others(number):
            turn = 0
            while not done.is_set():
                text = "%d %d" % (number, turn)
                assert client.complete(text).content == text
                turn += 1
            turns.append(turn)

        workers = threading.Thread(target=in_threads, args=(3, others))
        workers.start()
        try:
            for turn in self.under_fire(80, lambda turn: client.chat(str(turn)), longest_s=0.003):
                self.assertEqual(client.chat("after %d" % turn), "after %d" % turn)
        finally:
            done.set()
            workers.join()
        self.assertEqual(len(turns), 3)
