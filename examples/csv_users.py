"""Users bound to the rows of a CSV file: each one logs in with its own name."""

import hashlib

from wasp_ray import Generator, Profile, VirtualUser, csv, plain


class Shopper(VirtualUser):
    def setup(self):
        row = self.context.feed("people")
        self.name, self.password = row["name"], row["password"]

    def call(self):
        with self.group("login"):
            hashlib.pbkdf2_hmac("sha256", self.password.encode(), self.name.encode(), 2_000)


profile = Profile(
    Generator(
        "shop",
        user=Shopper,
        schedule=plain(3, "2s"),
        think_time="50ms",
        feeders={"people": csv("people.csv", per="user")},
    )
)
