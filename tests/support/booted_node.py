"""A whole node: systemd as it boots, in a container whose files are this machine's, overlaid.

What is written in the node is gone with it. The daemon is installed as an operator would, from
this checkout and this interpreter, and the node shares the machine's loopback.

systemd is never started on the machine itself: a private mount namespace holds the overlay, and
units that clean up or configure a machine are masked in it. It boots no further than sockets: what
else the machine serves (a database, on a port that a second node would want, too) stays off.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import site
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import pytest

ROOT = Path(__file__).parents[2]
SUTLERD = "/opt/sutler/bin/sutlerd"
PYTHON = "/opt/sutler/bin/python"
USERS = ("alice", "bob")
STRANGER = "mallory"
_BOOTED_WITHIN_S = 60.0
_COMMAND_WITHIN_S = 100.0
_TOOLS = ("systemd-nspawn", "unshare", "nsenter", "mount", "useradd", "runuser")
_MASKED = (
    "systemd-tmpfiles-setup.service",
    "systemd-tmpfiles-setup-dev.service",
    "systemd-tmpfiles-clean.service",
    "systemd-tmpfiles-clean.timer",
    "systemd-sysctl.service",
    "systemd-modules-load.service",
    "systemd-networkd.service",
    "systemd-networkd.socket",
    "systemd-resolved.service",
    "systemd-logind.service",
    "console-getty.service",
    "getty.target",
    "slurmctld.service",
    "slurmd.service",
    "munge.service",
)
_APART = ("unshare", "--mount", "--propagation", "private")
_INTO = ("-m", "-p", "-i", "-u", "-C", "--root", "--wd=/")
_ENVIRONMENT = ("PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C")
#: Two systemds in one cgroup would end each other's services.
_CGROUPS = ("/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified")
_BOOT = """
set -eu
for top in {cgroups}; do
    if mkdir $top/sutler-node-$$ 2>/dev/null; then echo $$ > $top/sutler-node-$$/cgroup.procs; fi
done
cd "$1"; mount -t tmpfs tmpfs .; cd "$1"
mkdir upper work root
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" root
shift
mkdir -p root/etc/systemd/system root/opt/sutler/bin root/opt/sutler/checkout
mkdir -p root/opt/sutler/base root/opt/sutler/site
for unit in {masked}; do ln -sf /dev/null root/etc/systemd/system/$unit; done
exec systemd-nspawn --quiet --directory=root --boot --register=no --keep-unit \\
    --link-journal=no --console=pipe "$@" -- --unit=basic.target
"""


def needs_a_node() -> None:
    """Skip, loudly, where no container can be booted."""
    missing = [tool for tool in _TOOLS if shutil.which(tool) is None]
    if os.geteuid() != 0 or missing:
        why = f"{', '.join(missing)} missing" if missing else "only root can"
        pytest.skip(f"LEFT OUT: systemd is not booted in a container: {why} (systemd-container)")
    tried = [*_APART, "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    if subprocess.run(tried, capture_output=True, check=False).returncode != 0:
        pytest.skip("LEFT OUT: systemd is not booted in a container: nothing can be mounted here")


class Node:
    """A context manager. ``config`` is the text of ``/etc/sutler/sutler.yaml``; ``keys`` go into
    ``/etc/credstore``. The socket unit is enabled and waits; ``alice`` and ``bob`` may use it."""

    def __init__(self, folder: Path, *, config: str, keys: dict[str, str] | None = None) -> None:
        self._folder = folder
        self._config = config
        self._keys = keys or {}
        self._leader = 0

    def __enter__(self) -> Self:
        self._folder.mkdir(exist_ok=True)
        script = _BOOT.format(masked=" ".join(_MASKED), cgroups=" ".join(_CGROUPS))
        binds = {sys.base_prefix: "base", site.getsitepackages()[0]: "site", str(ROOT): "checkout"}
        options = [f"--bind-ro={here}:/opt/sutler/{there}" for here, there in binds.items()]
        with (self._folder.parent / "boot.log").open("wb") as log:
            self._process = subprocess.Popen(
                [*_APART, "sh", "-c", script, "sh", str(self._folder), *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        try:
            self._wait_until_booted()
            self._install()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for top in _CGROUPS:
            own = Path(top, f"sutler-node-{self._process.pid}")
            for path in (*sorted(own.rglob("*/"), reverse=True), own):
                with contextlib.suppress(OSError):
                    path.rmdir()

    def command(self, *words: str, user: str | None = None) -> list[str]:
        """Give a command as this machine has to spell it to have it run in the node."""
        inside = ["runuser", "-u", user, "--", *words] if user else list(words)
        enter = ["nsenter", "-t", str(self._leader), *_INTO]
        return [*enter, "env", "-i", *_ENVIRONMENT, *inside]

    def try_(self, *words: str, user: str | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*words, user=user),
            capture_output=True,
            text=True,
            timeout=_COMMAND_WITHIN_S,
            check=False,
            stdin=subprocess.DEVNULL,
        )

    def run(self, *words: str, user: str | None = None) -> str:
        """Run to its end, which must be a good one, and give its output."""
        done = self.try_(*words, user=user)
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}{self.journal()}"
        return done.stdout

    def sutler(self, *words: str, user: str = "alice") -> subprocess.CompletedProcess[str]:
        return self.try_(PYTHON, "-m", "sutler", *words, user=user)

    def start(self, *words: str, user: str | None = None) -> subprocess.Popen[str]:
        return subprocess.Popen(self.command(*words, user=user), stdout=subprocess.PIPE, text=True)

    def path(self, path: str) -> Path:
        """Give the path at which this machine sees a file of the node."""
        return Path(f"/proc/{self._leader}/root{path}")

    def show(self, unit: str, name: str) -> str:
        return self.run("systemctl", "show", "--value", f"--property={name}", unit).strip()

    def journal(self) -> str:
        return self.try_("journalctl", "--unit=sutlerd", "--no-pager", "--output=cat").stdout

    def status(self) -> dict[str, object]:
        """Ask the daemon as root; it is started by that if need be."""
        done = self.sutler("status", "--json", user="root")
        assert done.returncode == 0, done.stderr + self.journal()
        found: dict[str, object] = json.loads(done.stdout)
        return found

    def _wait_until_booted(self) -> None:
        end_s = time.monotonic() + _BOOTED_WITHIN_S
        while True:
            assert self._process.poll() is None, self._boot_log()
            with contextlib.suppress(OSError):
                children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
                self._leader = int((children.read_text().split() or ["0"])[0])
                if self._leader:
                    state = self.try_("systemctl", "is-system-running").stdout.strip()
                    if state in ("running", "degraded"):
                        return
            assert time.monotonic() < end_s, self._boot_log()
            time.sleep(0.05)

    def _boot_log(self) -> str:
        return (self._folder.parent / "boot.log").read_text(errors="replace")

    def _install(self) -> None:
        """Do what the README tells an operator to do."""
        home = self.path("/opt/sutler")
        # An interpreter that was built for another place finds its own library there.
        self.path("/etc/ld.so.conf.d/000-sutler.conf").write_text("/opt/sutler/base/lib\n")
        self.run("ldconfig")
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        (home / "pyvenv.cfg").write_text("home = /opt/sutler/base/bin\n")
        (home / "bin/python").symlink_to(f"/opt/sutler/base/bin/{version}")
        packages = home / "lib" / version / "site-packages"
        packages.mkdir(parents=True)
        folders = ("checkout/daemon", "checkout/client_lib", "site")
        (packages / "all.pth").write_text("".join(f"/opt/sutler/{name}\n" for name in folders))
        script = home / "bin/sutlerd"
        main = "from sutlerd.__main__ import main; raise SystemExit(main())"
        script.write_text(f"#!/bin/sh\nexec {PYTHON} -c '{main}' \"$@\"\n")
        script.chmod(0o755)
        said = self.run(SUTLERD, "install", "--system")
        for step in said.partition("next:\n")[2].splitlines()[:-1]:
            self.run(*step.split())
        self.path("/etc/sutler/sutler.yaml").write_text(self._config)
        for name, key in self._keys.items():
            place = self.path(f"/etc/credstore/{name}")
            place.write_text(key + "\n")
            place.chmod(0o600)
        for user in (*USERS, STRANGER):
            groups: Sequence[str] = ("-G", "sutler-users") if user in USERS else ()
            self.run("useradd", "--no-create-home", *groups, user)
        self.run("systemctl", "enable", "--now", "sutlerd.socket")
