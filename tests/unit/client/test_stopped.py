"""Processes that are stopped for a while: clients and daemons."""

import os
import signal
import socket
import threading
import time

import sutler
from sutler.testing import Chunks, Hold
from tests.unit.client.support import Case, fault, in_threads


def is_stopped(pid):
    with open("/proc/%d/stat" % pid) as stat:
        return stat.read().rsplit(") ", 1)[1][0] == "T"


def stop(process):
    process.send_signal(signal.SIGSTOP)
    while not is_stopped(process.pid):
        time.sleep(0.001)


class StoppedClient(Case):
    @fault("C2")
    def test_cut_while_stopped_in_a_stream_it_raises_one_connection_lost(self):
        daemon = self.daemon(complete=[Chunks("a", then=Hold())])
        program = """
            import sys
            import sutler
            client = sutler.Client(sys.argv[1])
            stream = client.stream("x")
            print(next(stream), flush=True)
            try:
                print(next(stream))
            except sutler.ConnectionLost as error:
                print(error.retryable, list(stream), client.chat("next"))
            client.close()
        """
        process = self.script(program, daemon.socket_path)
        self.assertEqual(process.stdout.readline(), "a\n")
        stop(process)
        daemon.drop()
        process.send_signal(signal.SIGCONT)
        self.assertEqual(process.communicate(), ("True [] next\n", ""))

    @fault("C2")
    def test_stopped_while_idle_its_connection_is_kept(self):
        daemon = self.daemon()
        program = """
            import sys
            import sutler
            client = sutler.Client(sys.argv[1])
            print(client.chat("one"), flush=True)
            sys.stdin.readline()
            print(client.chat("two"))
            client.close()
        """
        process = self.script(program, daemon.socket_path)
        self.assertEqual(process.stdout.readline(), "one\n")
        stop(process)
        process.send_signal(signal.SIGCONT)
        self.assertEqual(process.communicate("go\n"), ("two\n", ""))
        self.assertEqual(daemon.connections, 1)

    def test_an_answer_that_came_while_it_was_stopped_counts_although_it_is_late(self):
        daemon = self.daemon(chat=[Hold("in time")])
        program = """
            import sys
            import sutler
            with sutler.Client(sys.argv[1]) as client:
                print(client.chat("x", timeout_s=1.0))
        """
        process = self.script(program, daemon.socket_path)
        daemon.wait_for(lambda it: it.count("chat") == 1)
        stop(process)
        daemon.release()
        time.sleep(1.4)  # past its limit, as its own clock sees it
        process.send_signal(signal.SIGCONT)
        self.assertEqual(process.communicate(), ("in time\n", ""))


LISTENER = """
    import socket, sys, threading
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(sys.argv[1])
    listener.listen(0)
    print("ready", flush=True)

    def serve(accepted):
        if accepted.recv(100_000):
            accepted.sendall(b'{"id":1,"result":{}}\\n')

    while True:
        threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
"""


class StoppedDaemon(Case):
    def full(self):
        """Start a listener, stop it and fill its backlog."""
        process = self.script(LISTENER, self.path())
        self.assertEqual(process.stdout.readline(), "ready\n")
        stop(process)
        for _ in range(4):
            filler = socket.socket(socket.AF_UNIX)
            self.addCleanup(filler.close)
            filler.setblocking(False)
            try:
                filler.connect(self.path())
            except BlockingIOError:
                return process
        raise AssertionError("the backlog has no end")

    @fault("C15")
    def test_past_the_limit_a_full_backlog_is_one_retryable_error_that_says_so(self):
        self.full()
        began_s = time.monotonic()
        with self.assertRaises(sutler.DaemonUnavailable) as caught:
            self.client(timeout_s=0.5).ping()
        self.assertGreaterEqual(time.monotonic() - began_s, 0.5)
        self.assertTrue(caught.exception.retryable)
        self.assertIn("is not accepting", str(caught.exception))
        self.assertEqual(caught.exception.tried[0][0], self.path())

    @fault("C15")
    def test_within_the_limit_it_waits_and_is_served(self):
        process = self.full()
        client = self.client()

        def work(number):
            if number:
                client.ping()
            else:
                time.sleep(0.3)
                process.send_signal(signal.SIGCONT)

        in_threads(2, work)

    @fault("C15")
    def test_signals_that_are_handled_do_not_end_the_waiting(self):
        process = self.full()
        before = signal.signal(signal.SIGUSR1, lambda *_: None)
        self.addCleanup(signal.signal, signal.SIGUSR1, before)
        client = self.client()

        def work():
            for _ in range(15):
                time.sleep(0.02)
                signal.pthread_kill(threading.main_thread().ident, signal.SIGUSR1)
            process.send_signal(signal.SIGCONT)

        thread = threading.Thread(target=work)
        thread.start()
        client.ping()  # in the main thread, which handles the signals
        thread.join()

    @fault("C15")
    def test_who_waits_for_another_threads_connection_has_its_own_limit(self):
        process = self.full()
        client = self.client()

        def work(number):
            if number == 0:
                client.ping()
                return
            time.sleep(0.2)
            if number == 1:
                with self.assertRaisesRegex(sutler.DaemonUnavailable, "is not accepting"):
                    client.ping(timeout_s=0.1)
                process.send_signal(signal.SIGCONT)

        in_threads(2, work)

    def test_a_stopped_daemon_is_a_timeout(self):
        process = self.script(LISTENER, self.path())
        process.stdout.readline()
        client = self.client()
        client.ping()
        stop(process)
        with self.assertRaises(sutler.Timeout):
            client.ping(timeout_s=0.1)
        self.assertTrue(os.path.exists(self.path()))
