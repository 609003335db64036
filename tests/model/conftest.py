"""Prints the seed of the random search, and how to repeat a session."""

from __future__ import annotations

from model.search import base_seed


def pytest_report_header() -> str:
    """The seed in the header of every session."""
    return f"model: seed {base_seed()}; repeat with WASP_MODEL_SEED={base_seed()} make model"
