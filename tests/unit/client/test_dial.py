"""Finding the socket, reaching it, and knowing who listens."""

import os
import socket
import unittest

import sutler
from sutler import AsyncClient, Client, dial
from sutler.testing import FakeDaemon
from tests.unit.client.support import Case, environment, fault

OTHER_UID = 54_321

needs_root = unittest.skipUnless(
    os.geteuid() == 0, "LEFT OUT: only root can act as a second user; run this as root"
)


class Finding(Case):
    def failure_of(self, client):
        with self.assertRaises(sutler.DaemonUnavailable) as caught:
            client.ping()
        return caught.exception

    def test_no_daemon_is_one_error_that_says_where_it_was_sought_and_what_to_do(self):
        with environment(SUTLER_SOCKET=None, XDG_RUNTIME_DIR=self.folder, TMPDIR=self.folder):
            error = self.failure_of(Client())
        places = [path for path, _ in error.tried]
        self.assertEqual(places[0], os.path.join(self.folder, "sutler", "sutler.sock"))
        self.assertEqual(places[-1], "/run/sutler/sutler.sock")
        self.assertGreaterEqual(len(places), 3)
        for expected in (*places, "sutlerd &", "systemctl --user start sutlerd.socket"):
            self.assertIn(expected, str(error))
        self.assertFalse(error.retryable)

    def test_the_first_place_that_exists_is_used(self):
        own = os.path.join(self.folder, "sutler-%d" % os.getuid())
        os.mkdir(own)
        daemon = FakeDaemon(os.path.join(own, "sutler.sock")).start()
        self.addCleanup(daemon.stop)
        temporary = {"SUTLER_SOCKET": None, "XDG_RUNTIME_DIR": None, "TMPDIR": self.folder}
        with environment(**temporary), Client() as client:
            client.ping()
        with environment(SUTLER_SOCKET=daemon.socket_path), Client() as client:
            client.ping()
        with environment(SUTLER_SOCKET=self.path("elsewhere")):
            self.assertEqual(len(self.failure_of(Client()).tried), 1)
        self.assertEqual(daemon.connections, 2)

    def test_a_socket_that_nobody_listens_on_is_named(self):
        listener = self.listener()
        listener.close()
        with self.assertRaises(sutler.DaemonUnavailable) as caught:
            self.client().ping()
        self.assertEqual(caught.exception.tried, [(self.path(), "a socket that nobody listens on")])

    def test_what_is_no_socket_is_named(self):
        with self.assertRaises(sutler.DaemonUnavailable):
            Client(self.folder).ping()

    def test_a_dangling_or_forbidden_place_is_passed_over(self):
        os.symlink("nowhere", self.path("link"))
        with self.assertRaises(sutler.DaemonUnavailable):
            Client(self.path("link")).ping()


def open_files():
    found = []
    for number in os.listdir("/proc/self/fd"):
        try:
            found.append(os.readlink("/proc/self/fd/" + number))
        except FileNotFoundError:  # the one that lists them
            continue
    return found


class LongPaths(Case):
    def folder_of(self, size_bytes, name="s.sock"):
        """Make a folder so deep that the socket's path has so many bytes."""
        folder = os.path.join(self.folder, "grüße")
        missing = size_bytes - len(os.fsencode(folder)) - 1 - len(os.fsencode(name))
        while missing > 0:
            part = "d" * min(missing - 1, 100)
            if missing - 1 - len(part) == 1:  # no room for another slash and a name
                part = part[:-1]
            folder = os.path.join(folder, part)
            missing -= len(part) + 1
        os.makedirs(folder)
        path = os.path.join(folder, name)
        self.assertEqual(len(os.fsencode(path)), size_bytes)
        return folder, path

    @fault("O9")
    def test_paths_of_any_length_are_reached(self):
        for size_bytes in (107, 108, 200, 1000):
            folder, path = self.folder_of(size_bytes)
            here = os.open(folder, os.O_RDONLY)
            daemon = FakeDaemon("/proc/self/fd/%d/s.sock" % here).start()
            with Client(path) as client:
                self.assertEqual(client.chat("x"), "x", size_bytes)
                self.assertEqual(client.chat("y"), "y")
            self.assertEqual(open_files().count(folder), 1)
            daemon.stop()
            os.close(here)

    @fault("O9")
    def test_where_the_way_round_fails_the_message_has_length_and_limit(self):
        name = "n" * 200
        _, path = self.folder_of(400, name)
        with open(path, "w"):
            pass
        with self.assertRaises(sutler.DaemonUnavailable) as caught:
            Client(path).ping()
        self.assertIn("400 bytes", str(caught.exception))
        self.assertIn("107", str(caught.exception))

    @fault("O9")
    def test_the_limit_is_in_bytes_not_in_characters(self):
        name = "ü" * 20 + ".sock"
        folder, path = self.folder_of(108, name)
        self.assertLess(len(path), 107)
        here = os.open(folder, os.O_RDONLY)
        self.addCleanup(os.close, here)
        daemon = FakeDaemon("/proc/self/fd/%d/%s" % (here, name)).start()
        self.addCleanup(daemon.stop)
        with Client(path) as client:
            self.assertEqual(client.chat("x"), "x")


class WhoListens(Case):
    def squatter(self):
        """Have another user listen; gives a function that tells what it was sent."""
        os.chmod(self.folder, 0o1777)
        report, told = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(report)
            os.setgid(OTHER_UID)
            os.setuid(OTHER_UID)
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(self.path())
            os.chmod(self.path(), 0o777)
            listener.listen(4)
            os.write(told, b"ready\n")
            accepted, _ = listener.accept()
            data = accepted.recv(10_000)
            os.write(told, b"was sent %r" % data)
            if data:
                accepted.sendall(b'{"id":1,"result":{}}\n')
            os._exit(0)
        os.close(told)
        self.addCleanup(os.close, report)
        self.assertEqual(os.read(report, 100), b"ready\n")

        def what():
            os.waitpid(pid, 0)
            return os.read(report, 20_000)

        return what

    @needs_root
    @fault("X2")
    def test_a_stranger_on_the_path_is_refused_before_a_byte_is_sent(self):
        what = self.squatter()
        with self.assertRaises(sutler.AccessDenied) as caught:
            self.client().chat("a secret")
        self.assertEqual(what(), b"was sent b''")
        self.assertEqual(caught.exception.data, {"listener_uid": OTHER_UID})
        self.assertIn("trusted_uids=(%d,)" % OTHER_UID, str(caught.exception))
        self.assertEqual(caught.exception.code, -32008)

    @needs_root
    @fault("X2")
    def test_the_asyncio_client_refuses_a_stranger_too(self):
        import asyncio

        what = self.squatter()

        async def ask():
            async with AsyncClient(self.path()) as client:
                await client.chat("a secret")

        with self.assertRaises(sutler.AccessDenied):
            asyncio.run(ask())
        self.assertEqual(what(), b"was sent b''")

    @needs_root
    @fault("X2")
    def test_a_configured_user_is_trusted(self):
        what = self.squatter()
        self.client(trusted_uids=(OTHER_UID,)).ping()
        self.assertIn(b'"ping"', what())

    @fault("X2")
    def test_root_and_this_user_are_trusted(self):
        for uid in (0, os.geteuid()):
            dial.check_listener(uid, self.path(), ())
        with self.assertRaises(sutler.AccessDenied):
            dial.check_listener(OTHER_UID, self.path(), ())
        with self.assertRaises(sutler.AccessDenied):
            dial.check_listener(OTHER_UID, "relative.sock", ())

    @fault("X2")
    def test_a_working_folder_that_was_removed_changes_nothing(self):
        self.addCleanup(os.chdir, os.getcwd())
        gone = self.path("gone")
        os.mkdir(gone)
        os.chdir(gone)
        os.rmdir(gone)
        for path in (self.path(), "relative.sock"):
            with self.assertRaises(sutler.AccessDenied):
                dial.check_listener(OTHER_UID, path, ())

    @needs_root
    @fault("X2")
    def test_the_owner_of_a_folder_is_trusted_if_only_root_can_replace_it(self):
        program = """
            import os, sys
            from sutler import AccessDenied
            from sutler.dial import check_listener
            os.chmod(sys.argv[1], 0o755)
            os.chroot(sys.argv[1])  # the folders above a test's own are open to all
            os.chdir("/")

            def folder(path, mode, owner=0):
                os.makedirs(path)
                os.chown(path, owner, owner)
                os.chmod(path, mode)

            folder("/run", 0o755)
            folder("/run/sutler", 0o755, 54321)
            folder("/var", 0o755)
            os.symlink("../run", "/var/up")
            os.symlink("/run", "/var/run")
            os.symlink("run", "/short")
            folder("/tmp", 0o1777)
            folder("/tmp/sutler-54321", 0o700, 54321)
            os.symlink("/run/sutler", "/tmp/link")
            folder("/group", 0o775)
            folder("/group/sutler", 0o755, 54321)
            folder("/home", 0o755)
            folder("/home/mallory", 0o755, 54322)
            folder("/home/mallory/run", 0o755, 54321)
            os.symlink("/loop", "/loop")
            for place in (
                "/run/sutler", "/var/run/sutler", "/short/sutler", "/run/./sutler", "run/sutler",
                "/run", "/tmp/sutler-54321", "/tmp/link", "/group/sutler", "/home/mallory/run",
                "/tmp/../run/sutler", "/var/up/sutler", "/loop/sutler", "/nowhere",
            ):
                try:
                    check_listener(54321, place + "/sutler.sock", ())
                    print(place)
                except AccessDenied:
                    pass
        """
        out, err = self.script(program, self.folder).communicate()
        self.assertEqual(err, "")
        self.assertEqual(
            out.split(),
            ["/run/sutler", "/var/run/sutler", "/short/sutler", "/run/./sutler", "run/sutler"],
        )

    @needs_root
    def test_a_socket_that_this_user_may_not_use_says_so(self):
        listener = self.listener()
        os.chmod(self.folder, 0o755)
        os.chmod(self.path(), 0o600)
        program = """
            import os, sys
            import sutler, sutler.opening
            os.setuid(54321)
            try:
                sutler.Client(sys.argv[1]).ping()
            except sutler.AccessDenied as error:
                print(error)
        """
        out, err = self.script(program, self.path()).communicate()
        self.assertEqual(err, "")
        self.assertIn("this user may not use it", out)
        listener.close()
