# SPDX-License-Identifier: Apache-2.0
"""Certificates for tests, made by the ``openssl`` command."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


@dataclass(frozen=True)
class Pair:
    """A certificate and its private key, PEM files."""

    cert: Path
    key: Path


class Authority:
    """A CA in a folder of its own; ``ca`` is its certificate."""

    def __init__(self, folder: Path, name: str = "test CA") -> None:
        folder.mkdir(parents=True)
        self.ca = folder / "ca.pem"
        self._folder = folder
        self._key = folder / "ca.key"
        _openssl("req", "-x509", *KEY, "-keyout", self._key, "-out", self.ca, "-subj", f"/CN={name}", "-days", 1)

    def issue(self, name: str, *alternatives: str, days: int = 1, usage: str = "", subject: str | None = None) -> Pair:
        """A certificate for CN=``name``, or ``subject``.

        ``alternatives``: "DNS:lb1.example", "URI:urn:lb:role:read". ``days`` -1: expired. ``usage``: extendedKeyUsage.
        """
        pair = Pair(self._folder / f"{name}.pem", self._folder / f"{name}.key")
        request, extensions = self._folder / f"{name}.csr", self._folder / f"{name}.ext"
        _openssl("req", "-new", *KEY, "-keyout", pair.key, "-out", request, "-subj", subject or f"/CN={name}")
        lines = [f"subjectAltName={','.join(alternatives)}"] if alternatives else []
        lines += [f"extendedKeyUsage={usage}"] if usage else []
        extensions.write_text("\n".join(lines) + "\n")
        ours = ("-CA", self.ca, "-CAkey", self._key, "-CAcreateserial", "-extfile", extensions)
        _openssl("x509", "-req", "-in", request, *ours, "-days", days, "-out", pair.cert)
        return pair

    def encrypt(self, key: Path) -> Path:
        """The same key behind a password."""
        encrypted = key.with_suffix(".encrypted")
        _openssl("pkey", "-in", key, "-aes256", "-passout", "pass:secret", "-out", encrypted)
        return encrypted


def _openssl(*args: object) -> None:
    done = subprocess.run(["openssl", *map(str, args)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
