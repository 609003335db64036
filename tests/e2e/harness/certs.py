"""The certificates and keys of one cluster, made by openssl in a fraction of a second.

Owns the folder of keys. The certificates pass Python's strict checks (3.13 turns those on).
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from .errors import HarnessError

DAYS = 30


class Authority:
    """A certificate authority in a folder, and what it signs: `NAME.crt` and `NAME.key` for each name."""

    def __init__(self, folder: Path) -> None:
        """Takes what is in the folder; `create()` makes a new authority."""
        self.folder = folder
        self.certificate = folder / "ca.crt"

    def create(self) -> None:
        """Makes the authority's own certificate."""
        self.folder.mkdir(parents=True, mode=0o700, exist_ok=True)
        extensions = ["basicConstraints=critical,CA:true", "keyUsage=critical,keyCertSign,cRLSign"]
        self._request("ca", "/CN=wasp-e2e", [*extensions, "subjectKeyIdentifier=hash"], [])

    def sign(self, name: str, subject: str, addresses: Sequence[str] = ()) -> None:
        """Makes a key and a certificate for clients and servers; addresses read like `IP:127.0.0.1`, `DNS:localhost`."""
        extensions = [
            "basicConstraints=critical,CA:false",
            "keyUsage=critical,digitalSignature",
            "extendedKeyUsage=clientAuth,serverAuth",
            "subjectKeyIdentifier=hash",
            "authorityKeyIdentifier=keyid",
        ]
        if addresses:
            extensions.append(f"subjectAltName={','.join(addresses)}")
        self._request(name, subject, extensions, ["-CA", str(self.certificate), "-CAkey", str(self.key("ca"))])

    def key_pair(self, name: str) -> None:
        """Makes `NAME.key` and its public half `NAME.pub`."""
        _openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", str(self.key(name)))
        _openssl("ec", "-in", str(self.key(name)), "-pubout", "-out", str(self.folder / f"{name}.pub"))

    def cert(self, name: str) -> Path:
        """The certificate of that name."""
        return self.folder / f"{name}.crt"

    def key(self, name: str) -> Path:
        """The private key of that name."""
        return self.folder / f"{name}.key"

    def _request(self, name: str, subject: str, extensions: Sequence[str], signer: Sequence[str]) -> None:
        # A configuration of our own: the system's adds extensions that would then be there twice.
        config = self.folder / f"{name}.cnf"
        lines = [
            "[req]",
            "distinguished_name=dn",
            "x509_extensions=ext",
            "prompt=no",
            "[dn]",
            "CN=x",
            "[ext]",
            *extensions,
        ]
        config.write_text("\n".join(lines) + "\n")
        key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", str(self.key(name))]
        out = ["-out", str(self.cert(name)), "-days", str(DAYS), "-subj", subject, "-config", str(config)]
        _openssl("req", "-x509", *key, *out, *signer)


def _openssl(*arguments: str) -> None:
    done = subprocess.run(["openssl", *arguments], capture_output=True, text=True, timeout=60)
    if done.returncode:
        raise HarnessError(f"openssl {' '.join(arguments)} failed: {done.stderr}")
