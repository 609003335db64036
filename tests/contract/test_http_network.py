"""The way to a server: names, addresses, ports, descriptors, unix sockets. Each that is missing has its own short name."""

from __future__ import annotations

import json
import os
import resource
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.http_drivers import CountingRecorder, Driver
from support.wrong_server import WrongServer
from support.wrong_steps import Hang

SCRIPT = Path(__file__).parent.parent / "support" / "narrow_network.py"


def free_port() -> int:
    """Where nobody listens."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@contextmanager
def silent(host: str = "127.0.0.1", port: int = 0) -> Iterator[int]:
    """A port that answers no SYN: its backlog is full."""
    with ExitStack() as stack:
        server = stack.enter_context(socket.socket())
        server.bind((host, port))
        server.listen(0)
        for _ in range(3):
            sock = stack.enter_context(socket.socket())
            sock.setblocking(False)
            sock.connect_ex(server.getsockname())
        yield int(server.getsockname()[1])


class Resolver:
    """Stands in for the system's resolver, whose answers a test cannot choose."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.answers: dict[str, list[str]] = {}
        self.goes_on = threading.Event()
        self.goes_on.set()
        self.asked: list[str] = []
        self._real = socket.getaddrinfo
        monkeypatch.setattr(socket, "getaddrinfo", self._ask)

    def _ask(self, host: Any, port: Any, *rest: Any, **more: Any) -> Any:
        if not str(host).endswith(".test"):
            return self._real(host, port, *rest, **more)
        self.asked.append(host)
        self.goes_on.wait(20)
        if host not in self.answers:
            raise socket.gaierror(socket.EAI_NONAME, "unknown")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in self.answers[host]]


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Resolver]:
    """Names that end in .test are its own."""
    made = Resolver(monkeypatch)
    yield made
    made.goes_on.set()
    for thread in threading.enumerate():
        if thread.name == "wasp-dns":
            thread.join(20)


def test_a_port_where_nobody_listens_is_refused(driver: Driver) -> None:
    """On both families, and again a moment later."""
    for url in (f"http://127.0.0.1:{free_port()}", f"https://127.0.0.1:{free_port()}", f"http://[::1]:{free_port()}"):
        client = driver.client(url)
        assert [client.get("/").error for _ in range(2)] == ["connection refused"] * 2


def test_a_server_that_comes_up_later_is_found(driver: Driver) -> None:
    """A failure leaves nothing behind in the client."""
    port = free_port()
    recorder = CountingRecorder()
    client = driver.client(f"http://127.0.0.1:{port}", recorder)
    assert client.get("/good/1").error == "connection refused"
    with WrongServer(address=("127.0.0.1", port)):
        assert client.get("/good/2").json() == {"number": 2}
        driver.close()
    assert client.get("/good/3").error == "connection refused"
    assert [each["status"] for each in recorder.requests] == [0, 200, 0]


def test_a_port_that_does_not_answer_is_a_connect_timeout(driver: Driver) -> None:
    """Or the request's timeout, when that comes first."""
    with silent() as port:
        url = f"http://127.0.0.1:{port}"
        assert driver.client(url, connect_timeout="200ms").get("/").error == "connect timeout"
        assert driver.client(url).get("/", timeout="200ms").error == "timeout"
        driver.close()


def test_ipv6_works(driver: Driver) -> None:
    """With brackets in URL and Host header."""
    with WrongServer(family=socket.AF_INET6, address=("::1", 0)) as server:
        client = driver.client(server.url)
        assert client.get("/good/1").json() == {"number": 1}
        assert server.seen[0].all("host") == [f"[::1]:{server.port}"]
        driver.close()


def test_a_unix_socket_works(driver: Driver, tmp_path: Path) -> None:
    """The base URL gives the Host header; connections are kept."""
    path = str(tmp_path / "s")
    with WrongServer(family=socket.AF_UNIX, address=path) as server:
        client = driver.client("http://shop.test/api", unix=path)
        assert client.get("/x").error == "HTTP 404"
        assert client.get("http://shop.test/good/2").json() == {"number": 2}
        assert server.seen[0].target == "/api/x" and server.seen[0].all("host") == ["shop.test"]
        assert server.connections == 1
        driver.close()


def test_a_unix_socket_that_is_not_there_is_refused(driver: Driver, tmp_path: Path) -> None:
    """No file, a file without a server, a file that is no socket."""
    gone, plain = tmp_path / "gone", tmp_path / "plain"
    plain.touch()
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(gone))
    for path in (tmp_path / "none", gone, plain):
        assert driver.client("http://shop.test", unix=str(path)).get("/").error == "connection refused"


def test_a_name_that_there_is_not_is_dns_failed(driver: Driver, resolver: Resolver) -> None:
    """Or one that can be none; it is asked for again each time."""
    client = driver.client("http://no.test")
    assert [client.get("/").error for _ in range(2)] == ["dns failed"] * 2
    assert resolver.asked == ["no.test"] * 2
    assert driver.client(f"http://{'a' * 70}.test").get("/").error == "dns failed"
    assert driver.client("http://a..test").get("/").error == "dns failed"


def test_a_resolver_that_hangs_is_a_connect_timeout(driver: Driver, resolver: Resolver) -> None:
    """No request waits longer than its time, and others are not held up."""
    resolver.goes_on.clear()
    assert driver.client("http://slow.test", connect_timeout="200ms").get("/").error == "connect timeout"
    assert driver.client("http://slow.test", timeout="200ms").get("/").error == "timeout"
    with WrongServer() as server:
        assert driver.client(server.url).get("/good/1").json() == {"number": 1}
        driver.close()


def test_several_addresses_are_tried_in_turn(driver: Driver, resolver: Resolver) -> None:
    """The first refuses, or is silent for its share of the time; the next one serves."""
    with WrongServer() as server:
        resolver.answers["two.test"] = ["127.0.0.2", "127.0.0.1"]
        client = driver.client(f"http://two.test:{server.port}")
        assert client.get("/good/1").json() == {"number": 1}
        with silent("127.0.0.3", server.port):
            resolver.answers["three.test"] = ["127.0.0.3", "127.0.0.2", "127.0.0.1"]
            client = driver.client(f"http://three.test:{server.port}", connect_timeout="2s")
            assert client.get("/good/2").json() == {"number": 2}
        resolver.answers["none.test"] = ["127.0.0.2", "127.0.0.3"]
        assert driver.client(f"http://none.test:{server.port}").get("/").error == "connection refused"
        driver.close()


def test_addresses_are_looked_up_once(driver: Driver, resolver: Resolver) -> None:
    """By all clients, until `dns_ttl` has passed, or none of them could be reached."""
    with WrongServer() as server:
        name = f"kept-{driver.kind}.test"
        resolver.answers[name] = ["127.0.0.1"]
        for number in range(3):
            assert driver.client(f"http://{name}:{server.port}").get(f"/good/{number}").ok
        assert resolver.asked == [name]
        short = f"short-{driver.kind}.test"
        resolver.answers[short] = ["127.0.0.1"]
        for number in range(3):
            assert driver.client(f"http://{short}:{server.port}", dns_ttl="1us").get(f"/good/{number}").ok
        assert resolver.asked == [name, short, short, short]
        driver.close()


@contextmanager
def no_descriptor_left() -> Iterator[None]:
    """This process can open nothing more."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.dup(0)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_without_a_descriptor_left_a_request_fails_and_the_next_one_works(driver: Driver, server: WrongServer) -> None:
    """Also when it is the first one of the client, by name, and with TLS."""
    clients = [
        driver.client(url)
        for url in (server.url, f"http://localhost:{server.port}", f"https://127.0.0.1:{server.port}")
    ]
    with no_descriptor_left():
        errors = [client.get("/good/1").error for client in clients]
    assert errors[0] == errors[2] == "no file descriptor left"
    assert errors[1] in ("no file descriptor left", "dns failed")  # the resolver cannot open its files either
    assert clients[0].get("/good/2").json() == {"number": 2}


def test_kept_connections_need_no_new_descriptor(driver: Driver, server: WrongServer) -> None:
    """Load goes on over what there is."""
    client = driver.client(server.url)
    assert client.get("/good/1").ok
    with no_descriptor_left():
        assert client.get("/good/2").json() == {"number": 2}


def _in_a_network_of_its_own(kind: str, what: str) -> dict[str, Any]:
    command = ["unshare", "--net", "--map-root-user", sys.executable, str(SCRIPT), kind, what]
    if shutil.which("unshare") is None:
        pytest.skip("a network namespace cannot be made here: there is no unshare (util-linux)")
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    if done.stderr.startswith("unshare:"):
        pytest.skip(f"a network namespace cannot be made here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_without_a_local_port_left_a_request_fails_and_the_next_one_works(driver: Driver) -> None:
    """In a network with four ports: the fifth connection has none, kept ones go on."""
    found = _in_a_network_of_its_own(driver.kind, "ports")
    assert found["errors"] == ["no local port left"] * 3
    assert found["kept"] == 1 and found["after"] == 2


def test_a_host_without_a_route_is_unreachable(driver: Driver) -> None:
    """In a network without one."""
    assert _in_a_network_of_its_own(driver.kind, "route")["errors"] == ["host unreachable"] * 2


def test_a_resolver_that_never_answers_is_a_connect_timeout(driver: Driver) -> None:
    """The system's own, asked over a network in which nobody answers."""
    found = _in_a_network_of_its_own(driver.kind, "dns")
    assert found["errors"] in (["connect timeout"], ["dns failed"])


def test_a_client_whose_server_hangs_leaves_others_alone(driver: Driver, server: WrongServer) -> None:
    """Two clients of one loop or thread have nothing in common but that."""
    server.on("/hang", [Hang()])
    assert driver.client(server.url, timeout="100ms").get("/hang").error == "timeout"
    assert driver.client(server.url).get("/good/1").json() == {"number": 1}
