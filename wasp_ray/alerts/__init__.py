"""Alerts of Grafana, Prometheus and Loki as requirements on a run: what is asked for, asking for it, what to make of it.

check, rules and watch are pure; server reads the environment, api speaks HTTP, serve is the process in which that happens.
"""
