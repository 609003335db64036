"""Run inside a network namespace of its own: what clients say where there are hardly any ports, no routes, no name servers.

unshare --net --map-root-user python narrow_network.py (asyncio|uvloop|sync) (ports|route|dns)
"""

from __future__ import annotations

import json
import socket
import struct
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from support.http_drivers import Driver, driving
from support.wrong_server import WrongServer

PORTS = Path("/proc/sys/net/ipv4/ip_local_port_range")
NAME_SERVERS = "nameserver 127.0.0.1\noptions timeout:30 attempts:3\n"


def without_ports(driver: Driver) -> dict[str, Any]:
    """One connection is kept, to the other server all ports are taken: there is no new one until they are free again."""
    with WrongServer(address=("127.0.0.1", 9000)) as server, WrongServer(address=("127.0.0.1", 9001)) as other:
        PORTS.write_text("40000 40003")
        kept, client = driver.client(server.url), driver.client(other.url)
        assert kept.get("/good/0").ok
        with ExitStack() as stack:
            for _ in range(4):  # a port may serve once for each address
                sock = stack.enter_context(socket.create_connection(("127.0.0.1", 9001)))
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # free at once afterwards
            errors = [client.get("/good/1").error for _ in range(3)]
            number_kept = kept.get("/good/1").json()["number"]
        after = client.get("/good/2").json()["number"]
        driver.close()
    return {"errors": errors, "kept": number_kept, "after": after}


def without_route(driver: Driver) -> dict[str, Any]:
    """Addresses that are documentation's own (RFC 5737, 3849); nothing leaves this namespace."""
    return {"errors": [driver.client(url).get("/").error for url in ("http://192.0.2.1", "http://[2001:db8::1]")]}


def without_names(driver: Driver) -> dict[str, Any]:
    """The name server takes questions and says nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as deaf:
        deaf.bind(("127.0.0.1", 53))
        return {"errors": [driver.client("http://shop.example", connect_timeout="300ms").get("/").error]}


if __name__ == "__main__":
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    with driving(sys.argv[1]) as made:
        print(json.dumps({"ports": without_ports, "route": without_route, "dns": without_names}[sys.argv[2]](made)))
