"""Grafana over the streams of the Loki sink: the dashboard and alert rules as data, their way to a server, annotations of a run.

It knows nothing of how a run goes. Only `client` and `annotations` speak to a server; they alone import aiohttp.
"""
