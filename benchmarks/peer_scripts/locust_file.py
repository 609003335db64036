# mypy: ignore-errors
"""The load of benchmarks.peers for Locust, written as its users write: one case of CASE, FastHttpUser or HttpUser by KIND."""

import os

from locust import FastHttpUser, HttpUser, constant, constant_throughput, task

CASE, THINK_S, RATE = os.environ["CASE"], float(os.environ.get("THINK_S", "0")), float(os.environ.get("USER_RATE", "0"))
PATH = os.environ["URL_PATH"]


class Load(HttpUser if os.environ["KIND"] == "http" else FastHttpUser):
    """Users without think time unless asked."""

    host = os.environ["URL_BASE"]
    wait_time = constant_throughput(RATE) if RATE else constant(THINK_S)
    item = 0

    def on_start(self):
        if CASE == "tls" and os.environ["KIND"] == "http":
            self.client.verify = os.environ["CA"]

    @task
    def load(self):
        if CASE == "json":
            with self.client.get(PATH, catch_response=True) as answer:
                found = answer.json()
                if found["total"] != 8 or found["items"][7]["id"] != 8:
                    answer.failure("not as expected")
        elif CASE == "post":
            self.item += 1
            self.client.post(PATH, json={"item": self.item, "quantity": 2, "note": "by the door"})
        else:
            self.client.get(PATH)
