"""Drains all rings of a node into histograms and the ledger.

It never schedules, and holds no more memory the longer a run is.
"""
