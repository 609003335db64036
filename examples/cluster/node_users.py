"""Users with a name of their own against TARGET_URL, a process each, by a blocking client of the standard library.

wasp run node_users.py                     here, all users
wasp cluster run node_users.py --jobs 4    on four pods: no two users of the whole cluster have the same row
"""

import hashlib
import http.client
import os
from urllib.parse import urlsplit

from wasp_ray import Generator, Profile, VirtualUser, between, csv, steps


class Shopper(VirtualUser):
    """Logs in with its row of people.csv, then searches, over one connection."""

    def setup(self):
        self.person = self.context.feed("people")
        self.http = http.client.HTTPConnection(urlsplit(os.environ["TARGET_URL"]).netloc, timeout=10)

    def call(self):
        with self.group("login"):  # CPU work: every user has a core's share of its own
            password = self.person["password"].encode()
            self.token = hashlib.pbkdf2_hmac("sha256", password, self.person["name"].encode(), 2_000).hex()
        with self.group("search") as search:
            self.http.request("GET", f"/search?q={self.person['name']}", headers={"X-Token": self.token})
            answer = self.http.getresponse()
            answer.read()
            search.status = answer.status
            if answer.status >= 500:
                search.fail(f"HTTP {answer.status}")

    def teardown(self):
        self.http.close()


def profile(users: int = 4, seconds: float = 10) -> Profile:
    """`-p users=8 -p seconds=60` for another load; the users are those of all pods together."""
    return Profile(
        Generator(
            "shop",
            user=Shopper,
            schedule=steps(1, 1, users, duration=f"{seconds}s"),
            think_time=between("20ms", "60ms"),
            feeders={"people": csv("data/people.csv", per="user")},  # relative to this file, here and in the image
        ),
        name="cluster-users",
        thresholds=["failed of shop < 5%"],
    )
