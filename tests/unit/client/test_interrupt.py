"""Exceptions that come from signal handlers, anywhere in a call."""

import random
import signal
import threading
import time

import sutler
from sutler.testing import Chunks, Hold
from tests.unit.client.support import Case, fault, filterwarnings, in_threads


class Stop(BaseException):
    """What the signal handler raises; like KeyboardInterrupt, no Exception."""


class Alarms:
    """Raise Stop in the main thread after a while, at most once; what comes late is dropped.

    A thread sends the signals: the timer of the process belongs to whoever limits the tests.
    """

    def __init__(self, case):
        self.armed = False
        before = signal.signal(signal.SIGUSR1, self._ring)
        case.addCleanup(signal.signal, signal.SIGUSR1, before)

    def _ring(self, number, frame):
        # Who measures coverage holds a lock of its own here, and is not what is tested.
        if self.armed and not frame.f_globals.get("__name__", "").startswith("coverage"):
            self.armed = False
            raise Stop

    def after(self, seconds, work):
        """True if ``work`` was interrupted."""
        started = threading.Event()

        def send():
            started.set()
            time.sleep(seconds)
            while self.armed:
                signal.pthread_kill(threading.main_thread().ident, signal.SIGUSR1)
                time.sleep(0.00005)

        sender = threading.Thread(target=send)
        try:
            self.armed = True
            sender.start()
            started.wait()
            work()
            self.armed = False
        except Stop:
            return True
        finally:
            self.armed = False
            sender.join()
        return False


# An interrupt between making a socket and keeping it leaves the closing to the collector,
# which tells of it; one in a finalizer cannot be raised.
@filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
class Interrupts(Case):
    def setUp(self):
        super().setUp()
        self.alarms = Alarms(self)

    @fault("C17")
    def test_a_waiting_call_is_cancelled_and_the_next_gets_its_own_answer(self):
        daemon = self.daemon(complete=[Hold("old")])
        client = self.client(daemon)
        for turn in range(3):
            self.assertTrue(self.alarms.after(0.05, lambda: client.complete("x")))
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
        interrupted = 0
        text = "t" * 30_000
        for turn in range(400):
            size = chance.choice((1, 300, 30_000))
            asked = "%d %s" % (turn, text[:size])
            interrupted += self.alarms.after(
                chance.uniform(0.00002, 0.0006), lambda asked=asked: client.chat(asked)
            )
            after = "after %d" % turn
            self.assertEqual(client.chat(after), after)
        self.assertGreater(interrupted, 10)

    @fault("C17")
    def test_an_interrupted_stream_is_over_and_the_next_one_is_whole(self):
        words = ["%d " % number for number in range(300)]
        daemon = self.daemon(complete=[Chunks(*words)])
        client = self.client(daemon)
        chance = random.Random(18)
        for _ in range(60):
            stream = []

            def work(stream=stream):
                stream.append(client.stream("x"))
                for _ in stream[0]:
                    pass

            if self.alarms.after(chance.uniform(0.0001, 0.004), work) and stream:
                with self.assertRaises((sutler.Cancelled, RuntimeError)):
                    stream[0].result  # noqa: B018 -- reading it is the test
                stream[0].close()
            whole = client.stream("y")
            self.assertEqual("".join(map(str, whole)), "".join(words))

    @fault("C17")
    def test_an_interrupted_map_is_over_and_the_client_goes_on(self):
        daemon = self.daemon()
        client = self.client(daemon)
        chance = random.Random(19)
        prompts = ["p%d" % number for number in range(40)]
        for _ in range(60):
            self.alarms.after(
                chance.uniform(0.0002, 0.004), lambda: list(client.map(prompts, max_in_flight=8))
            )
            self.assertEqual([reply.content for reply in client.map(prompts)], prompts)

    @fault("C17")
    def test_other_threads_answers_survive_the_interrupts_of_the_main_one(self):
        daemon = self.daemon()
        client = self.client(daemon)
        chance = random.Random(20)
        done = threading.Event()
        turns = []

        def work(number):
            turn = 0
            while not done.is_set():
                text = "%d %d" % (number, turn)
                assert client.complete(text).content == text
                turn += 1
            turns.append(turn)

        workers = threading.Thread(target=in_threads, args=(3, work))
        workers.start()
        try:
            for turn in range(150):
                self.alarms.after(
                    chance.uniform(0.0001, 0.002), lambda turn=turn: client.chat(str(turn))
                )
                self.assertEqual(client.chat("after"), "after")
        finally:
            done.set()
            workers.join()
        self.assertEqual(len(turns), 3)
