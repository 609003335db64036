"""Runs from source to verdict: settings, node, view, bundle, judgement. Used by Profile.run and the command line alike."""

from wasp_ray.execution.reporter import Reporter
from wasp_ray.execution.settings import NoView, Outcome, Settings, View
from wasp_ray.execution.signals import signals_to
from wasp_ray.execution.single import Execution, run_node

__all__ = ["Execution", "NoView", "Outcome", "Reporter", "Settings", "View", "run_node", "signals_to"]
