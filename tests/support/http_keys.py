"""Certificates for tests of TLS: one authority a session, made by openssl."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
from e2e.harness.certs import Authority

_made: dict[Path, Authority] = {}


def authority(factory: pytest.TempPathFactory) -> Authority:
    """It, a server of this machine, one of another name, and a client."""
    folder = factory.getbasetemp() / "http-keys"
    if folder not in _made:
        made = _made[folder] = Authority(folder)
        made.create()
        made.sign("here", "/CN=here", ["IP:127.0.0.1", "IP:::1", "DNS:localhost"])
        made.sign("shop", "/CN=shop", ["DNS:shop.test"])
        made.sign("client", "/CN=client")
    return _made[folder]


def server_context(keys: Authority, name: str = "here") -> ssl.SSLContext:
    """Of a server."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(keys.cert(name), keys.key(name))
    return made
