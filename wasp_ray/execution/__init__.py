"""Runs from source to verdict: settings, node, view, bundle, judgement. Used by Profile.run and the command line alike."""

from wasp_ray.execution.outputs import Finished, Outputs
from wasp_ray.execution.places import Running, execution_of, in_pod
from wasp_ray.execution.reporter import STOPPED_EARLY, Findings, Reporter
from wasp_ray.execution.settings import Outcome, Settings
from wasp_ray.execution.signals import signals_to
from wasp_ray.execution.single import Execution, run_node
from wasp_ray.report.listener import Listener

__all__ = [
    "STOPPED_EARLY",
    "Execution",
    "Findings",
    "Finished",
    "Listener",
    "Outcome",
    "Outputs",
    "Reporter",
    "Running",
    "Settings",
    "execution_of",
    "in_pod",
    "run_node",
    "signals_to",
]
