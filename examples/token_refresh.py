"""A token that every user fetches once and renews before it expires; the fetch is a group of its own."""

import time

from wasp_ray import Generator, Profile, Response, VirtualUser, plain

GOOD_FOR_S = 1.0


class Api(VirtualUser):
    def setup(self):
        self.renew()

    def renew(self):
        with self.group("token"):
            time.sleep(0.02)  # your identity provider
            self.token, self.good_until = "secret", time.monotonic() + GOOD_FOR_S

    def call(self):
        if time.monotonic() > self.good_until:
            self.renew()
        time.sleep(0.005)  # your client's request with self.token
        return Response(group="orders", path="/orders", status=200)


profile = Profile(Generator("api", user=Api, schedule=plain(2, "3s"), pacing="50ms"))
