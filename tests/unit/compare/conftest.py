"""The calibration is a benchmark, and benchmarks are not installed with the wheel."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[3]))
