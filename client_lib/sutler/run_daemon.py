"""A sutlerd that lives in a folder of its own, for one command. Loaded by ``sutler run``."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from sutler.cli_exit import NO_DAEMON, CommandFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, List, Optional

READY_WITHIN_S = 60.0
#: Longer than it may take to finish calls whose askers have ended.
STOPPED_WITHIN_S = 40.0
_LOOK_EVERY_S = 0.01
_PR_SET_PDEATHSIG = 1
_SHOWN_LOG_BYTES = 4096
_FOLDER = "sutler-run-"
#: LMDB's file in the cache's folder.
_DATA = "data.mdb"


class OwnDaemon:
    """A context manager: what it made is gone when it is left, however that comes.

    Only SIGKILL leaves its folder behind: the next one in the same place removes it.

    ``socket`` is where it listens once it was started.
    """

    def __init__(
        self,
        config: Optional[str],
        budget: Optional[str],
        ledger_dir: Optional[str],
        cache_file: Optional[str],
        log: Optional[str],
    ) -> None:
        self._config = config
        self._budget = budget
        self._ledger_dir = ledger_dir
        self._cache_file = os.path.abspath(cache_file) if cache_file else None
        self._log = log
        self._folder = ""
        self._lock = -1
        self._process: Optional[subprocess.Popen[bytes]] = None
        self.socket = ""

    def __enter__(self) -> OwnDaemon:
        _sweep(tempfile.gettempdir())
        # Short, because a socket's path must be; and not swept before it is locked.
        fresh = tempfile.mkdtemp(prefix="sutler-new-")
        self._lock = os.open(fresh, os.O_RDONLY)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self._folder = fresh.replace("sutler-new-", _FOLDER)
        os.rename(fresh, self._folder)
        self.socket = os.path.join(self._folder, "s.sock")
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)
        os.close(self._lock)

    def start(self, end_was_asked: Callable[[], Optional[int]]) -> None:
        """Start it and wait until it answers. Raises CommandFailed.

        ``end_was_asked`` is looked at meanwhile: it gives the signal that asked.
        """
        self._load_cache()
        log_path = self._log or os.path.join(self._folder, "log")
        with open(log_path, "ab") as log:
            self._process = subprocess.Popen(
                self._command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # Apart from the terminal's group: Ctrl-C is the command's.
                start_new_session=True,
                # It holds the lock as well: killed, we may be gone before it is.
                pass_fds=[self._lock],
                preexec_fn=_die_with_parent(),
            )
        until_s = time.monotonic() + READY_WITHIN_S
        while not self._answers():
            number = end_was_asked()
            if number is not None:
                raise CommandFailed("ended before the command was begun", 128 + number)
            if self._process.poll() is not None or time.monotonic() > until_s:
                raise CommandFailed("sutlerd did not start: %s" % _end_of(log_path), NO_DAEMON)
            time.sleep(_LOOK_EVERY_S)

    def stop(self) -> List[str]:
        """Let it finish and keep what is to be kept; give what went wrong with that."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        try:
            code = self._process.wait(STOPPED_WITHIN_S)
        except subprocess.TimeoutExpired:
            return ["sutlerd did not stop in time; the cache is not kept"]
        if code != 0:
            return ["sutlerd ended with status %d; the cache is not kept" % code]
        try:
            self._keep_cache()
        except OSError as error:
            return ["the cache is not kept: %s: %s" % (self._cache_file, error.strerror)]
        return []

    def _command(self) -> List[str]:
        command = [
            *_sutlerd(),
            "--socket=" + self.socket,
            "--state-dir=" + os.path.abspath(self._ledger_dir or self._path("state")),
            "--cache-dir=" + self._path("cache"),
        ]
        if self._config:
            command.append("--config=" + self._config)
        if self._budget:
            command.append("--budget=" + self._budget)
        return command

    def _path(self, name: str) -> str:
        return os.path.join(self._folder, name)

    def _answers(self) -> bool:
        from sutler.client import Client
        from sutler.errors import SutlerError

        if not os.path.exists(self.socket):
            return False
        try:
            with Client(self.socket, timeout_s=READY_WITHIN_S, reconnect_s=0.0) as client:
                client.ping()
        except SutlerError:
            return False
        return True

    def _load_cache(self) -> None:
        """Lay the file into the cache's folder. The daemon looks through it before it trusts it."""
        if self._cache_file is None:
            return
        folder = self._path("cache")
        os.mkdir(folder, 0o700)
        try:
            shutil.copyfile(self._cache_file, os.path.join(folder, _DATA))
        except FileNotFoundError:
            pass  # it will be there after this run
        except OSError as error:
            said = "--cache-file %s: %s" % (self._cache_file, error.strerror)
            raise CommandFailed(said) from None

    def _keep_cache(self) -> None:
        """Put the file in its place whole, or leave the older one there."""
        source = self._path(os.path.join("cache", _DATA))
        if self._cache_file is None or not os.path.exists(source):
            return
        fresh = "%s.%d.new" % (self._cache_file, os.getpid())
        try:
            # Answers are nobody else's to read.
            descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with open(descriptor, "wb") as target, open(source, "rb") as data:
                shutil.copyfileobj(data, target, 1 << 20)
                target.flush()
                os.fsync(target.fileno())
            os.replace(fresh, self._cache_file)
        finally:
            if os.path.exists(fresh):
                os.unlink(fresh)


def _sweep(parent: str) -> None:
    """Remove what killed runs of ours have left: folders that nobody holds the lock of."""
    with os.scandir(parent) as entries:
        names = [entry.name for entry in entries if entry.name.startswith(_FOLDER)]
    for name in names:
        path = os.path.join(parent, name)
        try:
            folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError:
            continue  # another user's, or gone
        try:
            if os.fstat(folder).st_uid == os.geteuid():
                fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path, ignore_errors=True)
        except OSError:
            pass  # in use
        finally:
            os.close(folder)


def _sutlerd() -> List[str]:
    named = os.environ.get("SUTLERD")
    if named:
        return [named]
    beside = os.path.join(os.path.dirname(sys.executable), "sutlerd")
    found = beside if os.access(beside, os.X_OK) else shutil.which("sutlerd")
    if found is None:
        said = "sutlerd is not on the path: pip install it, or name it in $SUTLERD"
        raise CommandFailed(said, NO_DAEMON)
    return [found]


def _die_with_parent() -> Callable[[], None]:
    """Give what a child calls so that it is told to stop when we are killed."""
    import ctypes

    libc = ctypes.CDLL(None)
    unblocked = set(signal.Signals)

    def in_child() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, unblocked)

    return in_child


def _end_of(path: str) -> str:
    try:
        with open(path, "rb") as log:
            log.seek(max(0, os.path.getsize(path) - _SHOWN_LOG_BYTES))
            lines = log.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return "its log cannot be read"
    return lines[-1] if lines else "it said nothing"
