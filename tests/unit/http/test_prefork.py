"""What an actor's code says of the clients that it will need."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from wasp_ray import Gun, VirtualUser
from wasp_ray.runtime.prefork import names_in


class Direct(VirtualUser):
    """Uses it in setup."""

    async def setup(self) -> None:
        self.session = self.context.aiohttp()


class Heir(Direct):
    """Its base does."""


class Nested(Gun):
    """Uses it in a function inside a method."""

    def call(self) -> None:
        def make() -> Any:
            return self.context.http2()

        make()


def make_session(context: Any) -> Any:
    """Beside the classes of this module."""
    return context.requests()


class Plain(Gun):
    """Uses none itself."""

    @staticmethod
    def nothing() -> None:
        """Not a plain function."""


def test_names_are_found_in_methods_bases_inner_functions_and_the_module() -> None:
    """Whoever mentions one is taken at its word."""
    assert "aiohttp" in names_in(Direct) and "aiohttp" in names_in(Heir)
    assert "http2" in names_in(Nested)
    assert "requests" in names_in(Direct), "a function of the same module makes it"


@pytest.mark.parametrize("named", [True, False])
def test_only_a_load_that_names_http_has_its_client_imported(named: bool) -> None:
    """Every user of a load without HTTP would pay for it."""
    setup = "self.http = self.context.http('http://127.0.0.1')" if named else "pass"
    code = (
        "import sys\nfrom wasp_ray import VirtualUser\nfrom wasp_ray.runtime.prefork import preimport\n"
        f"class User(VirtualUser):\n    def setup(self):\n        {setup}\npreimport([User])\n"
        "print([name in sys.modules for name in ('wasp_ray.http.client', 'wasp_ray.http.sync_client', 'httptools', 'ssl')])"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == str([named] * 4)


def test_wasp_ray_itself_mentions_all_of_them_and_counts_for_none() -> None:
    """Else every load would import everything."""
    assert not {"aiohttp", "http2"} & names_in(VirtualUser)


def test_a_user_of_the_client_imports_nothing_after_the_fork() -> None:
    """All that a first request needs is there before: it would be memory of each user."""
    code = (
        "import sys\n"
        "from wasp_ray import VirtualUser\n"
        "class User(VirtualUser):\n"
        "    def setup(self): self.http = self.context.http('http://127.0.0.1')\n"
        "from wasp_ray.runtime.prefork import preimport\n"
        "from wasp_ray.runtime.prefork import Answered\n"
        "preimport([User])\n"
        "from wasp_ray.http import SyncClient\n"
        "before = set(sys.modules)\n"
        "client = SyncClient('http://127.0.0.1')\n"
        "client.dialer = Answered()\n"
        "print(client.get('/').text, sorted(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "ok []\n"
