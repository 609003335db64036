"""The command `wasp`: reads options, prints, exits with the verdict's code. It decides nothing about load or results."""

from __future__ import annotations

from wasp_ray.cli.commands import check_place, cli, main, run

__all__ = ["check_place", "cli", "main", "run"]
