"""What `wasp dashboard` does: finds the Dashboard of a load file, gives its text or brings it to Grafana."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path

from wasp_ray.errors import BadInput
from wasp_ray.grafana.dashboard import Dashboard, dashboard_json
from wasp_ray.grafana.rules import ruler_file
from wasp_ray.load.locate import load_dashboard, split_spec


class LoadedDashboard:
    """Of FILE[:NAME]; NAME is a Dashboard, a Profile or a function that returns one, by default `dashboard`, else `profile`.

    Raises BadInput with all problems.
    """

    def __init__(self, spec: str, params: dict[str, str]) -> None:
        with redirect_stdout(sys.stderr):  # what the file prints is no JSON
            found = load_dashboard(spec, params)
        self.dashboard = found if isinstance(found, Dashboard) else Dashboard(found)
        problems = self.dashboard.problems()
        if problems:
            raise BadInput(problems)
        self.profile: str = self.dashboard.profile.name or split_spec(spec)[0].stem

    def text(self) -> str:
        """The dashboard."""
        return json.dumps(dashboard_json(self.profile), indent=2, ensure_ascii=False) + "\n"

    def rules(self) -> str:
        """For Loki's ruler. Raises BadInput when there are no alerts."""
        if not self.dashboard.alerts:
            raise BadInput(
                "--rules: the load file has no alerts: expected dashboard = Dashboard(profile, alerts=[Alert.failures(...)])"
            )
        return ruler_file(self.profile, self.dashboard.alerts)

    def deploy(self, datasource_uid: str | None, tell: Callable[[str], None]) -> None:
        """To GRAFANA_URL. Raises GrafanaError or BadInput, with the cure."""
        try:
            from wasp_ray.grafana.deploy import deploy
        except ModuleNotFoundError as exc:
            raise BadInput(
                f"--deploy needs {exc.name}, which is not installed: pip install 'wasp-ray[grafana]'"
            ) from exc
        asyncio.run(deploy(self.dashboard, self.profile, datasource_uid, tell))


def write(text: str, path: Path) -> None:
    """Raises BadInput when the file cannot be written."""
    try:
        path.write_text(text)
    except OSError as exc:
        raise BadInput(f"{path} cannot be written ({exc.strerror or exc}): name another file") from exc
