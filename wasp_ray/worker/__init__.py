"""What runs in a worker: the loops, the booking of calls, the context. Light: it must not import numpy, rich or aiohttp."""
