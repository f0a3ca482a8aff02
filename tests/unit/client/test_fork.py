"""A client that is inherited by forked children."""

import os
import socket
import traceback
import warnings

import sutler
from sutler.testing import Chunks, Hold
from tests.unit.client.support import Case, fault, in_threads


def in_child(work):
    """Fork; True if ``work`` went through in the child, which then ends without cleaning up."""
    with warnings.catch_warnings():
        # The daemon's thread is not needed in the child, and none of its locks are.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        try:
            work()
            os._exit(0)
        except BaseException:  # noqa: BLE001 -- a child must never return into the test
            traceback.print_exc()
        os._exit(1)
    return os.waitpid(pid, 0)[1] == 0


class Forks(Case):
    @fault("C16")
    def test_a_child_opens_its_own_connection_and_the_parents_stream_goes_on(self):
        daemon = self.daemon(complete=[Chunks("a", "b", then=Hold("ab"))])
        client = self.client(daemon)
        stream = client.stream("x")
        self.assertEqual(str(next(stream)), "a")

        def child():
            for turn in range(3):
                assert client.chat("child %d" % turn) == "child %d" % turn
            assert client.chat("last") == "last"
            client.close()

        self.assertTrue(in_child(child))
        self.assertEqual(str(next(stream)), "b")
        daemon.release()
        self.assertEqual(list(stream), [])
        self.assertEqual(stream.result.content, "ab")
        self.assertEqual(client.chat("parent"), "parent")
        self.assertEqual(daemon.cancelled, [])
        parent, child_ids = set(), set()
        for asked in daemon.asked:
            (parent if asked.connection == 1 else child_ids).add(asked.params["request_id"][:24])
        self.assertEqual((len(parent), len(child_ids)), (1, 1))
        self.assertNotEqual(parent, child_ids)
        self.assertEqual(daemon.connections, 2)

    @fault("C16")
    def test_a_child_that_only_ends_disturbs_nobody(self):
        daemon = self.daemon(complete=[Chunks("a", then=Hold("whole"))])
        program = """
            import os, sys, warnings
            import sutler
            client = sutler.Client(sys.argv[1])
            stream = client.stream("x")
            next(stream)
            child = os.fork()
            if child == 0:
                sys.exit(0)  # through its exit handlers and finalizers
            os.waitpid(child, 0)
            print("ready", flush=True)
            sys.stdin.readline()
            print(list(stream), stream.result.content, client.chat("after"))
            client.close()
        """
        process = self.script(program, daemon.socket_path)
        self.assertEqual(process.stdout.readline(), "ready\n")
        self.assertEqual(daemon.cancelled, [])
        daemon.release()
        out, err = process.communicate("go\n")
        self.assertEqual((out, err), ("[] whole after\n", ""))
        self.assertEqual(daemon.connections, 1)

    @fault("C16")
    def test_the_copy_is_closed_and_nothing_is_said_on_it(self):
        listener = self.listener()
        client = self.client()
        accepted = []

        def work(number):
            if number:
                with self.assertRaises(sutler.Timeout):
                    client.ping(timeout_s=0.3)
            else:
                accepted.append(listener.accept()[0])

        in_threads(2, work)
        (connection,) = accepted
        with connection:
            before = os.listdir("/proc/self/fd")

            def child():
                held = len(os.listdir("/proc/self/fd"))
                client.close()  # notices the new process, and closes what it inherited
                assert len(os.listdir("/proc/self/fd")) == held - 1, (held, before)

            self.assertTrue(in_child(child))
            connection.setblocking(False)
            said = connection.recv(10_000)
            self.assertEqual(said.count(b'"ping"'), 1)
            with self.assertRaises(BlockingIOError):
                connection.recv(10)
            connection.send(b"\n")  # still open on the parent's side

    @fault("C16")
    def test_a_parents_stream_is_not_the_childs_to_read_or_to_close(self):
        daemon = self.daemon(complete=[Chunks("a", "b", then=Hold("ab"))])
        client = self.client(daemon)
        stream = client.stream("x")
        next(stream)

        def child():
            with self.assertRaisesRegex(sutler.ConnectionLost, "belongs to the parent"):
                next(stream)
            stream.close()
            client.ping()

        self.assertTrue(in_child(child))
        self.assertTrue(in_child(stream.close))
        self.assertEqual(str(next(stream)), "b")
        self.assertEqual(daemon.cancelled, [])

    @fault("C16")
    def test_a_fork_while_other_threads_hold_every_lock_leaves_the_child_able(self):
        daemon = self.daemon()
        client = self.client(daemon)
        results = []

        def work(number):
            if number:
                for turn in range(150):
                    assert client.chat("%d %d" % (number, turn)) == "%d %d" % (number, turn)
            else:
                results.extend(in_child(lambda: client.chat("child")) for _ in range(12))

        in_threads(5, work)
        self.assertEqual(results, [True] * 12)

    @fault("C16")
    def test_descriptors_are_not_handed_to_programs(self):
        daemon = self.daemon()
        client = self.client(daemon)
        client.ping()
        (link,) = [process.home.link for process in client._processes.values()]
        self.assertFalse(os.get_inheritable(link._socket.fileno()))
        self.assertEqual(link._socket.family, socket.AF_UNIX)
