# mypy: ignore-errors
"""The load of benchmarks.peers for molotov: one case of CASE. Its session is aiohttp's, one a worker."""

import asyncio
import os
import ssl

from molotov import scenario, setup, setup_session

CASE, URL, THINK_S = os.environ["CASE"], os.environ["URL"], float(os.environ.get("THINK_S", "0"))
TRUSTED = ssl.create_default_context(cafile=os.environ["CA"]) if CASE == "tls" else True
numbers = iter(range(1, 2**62))


@setup()
async def no_options(worker, args):
    return {}


@setup_session()
async def nothing(worker, session):
    return None


@scenario(weight=1)
async def load(session):
    if CASE == "json":
        async with session.get(URL) as answer:
            found = await answer.json()
            assert answer.status == 200 and found["total"] == 8 and found["items"][7]["id"] == 8
    elif CASE == "post":
        body = {"item": next(numbers), "quantity": 2, "note": "by the door"}
        async with session.post(URL, json=body) as answer:
            assert answer.status == 200
            await answer.read()
    else:
        async with session.get(URL, ssl=TRUSTED) as answer:
            assert answer.status == 200
            await answer.read()
    if THINK_S:
        await asyncio.sleep(THINK_S)
