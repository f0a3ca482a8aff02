"""A throwaway certificate authority, for the TLS tests; made anew by ``openssl`` each time."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from pathlib import Path

import pytest

_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


class Authority:
    """``pem`` is the file to trust."""

    def __init__(self, folder: Path) -> None:
        if shutil.which("openssl") is None:
            pytest.skip("openssl makes the certificates")
        folder.mkdir(parents=True)
        self._folder = folder
        self.pem = folder / "ca.pem"
        self._openssl(
            *("req", "-x509", *_KEY, "-days", "2", "-subj", "/CN=scripted authority"),
            *("-addext", "keyUsage=critical,keyCertSign"),
            *("-keyout", folder / "ca.key", "-out", self.pem),
        )

    def serve(self, name: str = "IP:127.0.0.1", *, days: int = 2) -> ssl.SSLContext:
        """Give a server's context with a certificate for ``name``; negative days: expired."""
        key, request, chain = (
            self._folder / f"server.{ending}" for ending in ("key", "csr", "pem")
        )
        names = self._folder / "names"
        names.write_text(f"subjectAltName={name}")
        self._openssl("req", *_KEY, "-subj", "/CN=scripted", "-keyout", key, "-out", request)
        self._openssl(
            *("x509", "-req", "-in", request, "-CA", self.pem, "-CAkey", self._folder / "ca.key"),
            *("-CAcreateserial", "-days", str(days), "-extfile", names, "-out", chain),
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(chain, key)
        return context

    @staticmethod
    def _openssl(*arguments: object) -> None:
        command = ["openssl", *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode == 0, done.stderr
