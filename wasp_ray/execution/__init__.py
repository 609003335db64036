"""Runs from source to verdict: settings, node, view, bundle, judgement. Used by Profile.run and the command line alike."""

from wasp_ray.execution.places import Running, execution_of, in_pod
from wasp_ray.execution.reporter import STOPPED_EARLY, Findings, Reporter, check_json_path
from wasp_ray.execution.settings import Outcome, Settings
from wasp_ray.execution.signals import signals_to
from wasp_ray.execution.single import Execution, run_node
from wasp_ray.report.listener import Listener

__all__ = [
    "STOPPED_EARLY",
    "Execution",
    "Findings",
    "Listener",
    "Outcome",
    "Reporter",
    "Running",
    "Settings",
    "check_json_path",
    "execution_of",
    "in_pod",
    "run_node",
    "signals_to",
]
