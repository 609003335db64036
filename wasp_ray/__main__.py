"""`python -m wasp_ray` is the command `wasp`."""

from __future__ import annotations

from wasp_ray.cli import main

if __name__ == "__main__":
    main()
