"""`wasp dashboard`: prints the Grafana dashboard of a load file or its alerts, or deploys them."""

from __future__ import annotations

from pathlib import Path

import click


@click.command(epilog="""\b
Examples:
  wasp dashboard load.py -o dashboard.json     for provisioning, or to import it by hand
  wasp dashboard load.py --deploy              to GRAFANA_URL, with the token in GRAFANA_TOKEN; again: an update
  wasp dashboard load.py --rules -o rules.yaml the alerts for Loki's ruler
  wasp dashboard load.py:nightly -p users=50   a function `nightly(users: int)` returns the Profile

\b
Alerts: dashboard = Dashboard(profile, alerts=[Alert.failures("few failures", above="1%")]) in the load file.
""")  # fmt: skip
@click.argument("file", metavar="FILE[:NAME]", type=click.Path())
@click.option(
    "-p", "--param", "params", multiple=True, metavar="NAME=VALUE", help="An argument of the profile function."
)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Instead of stdout."
)
@click.option("--rules", is_flag=True, help="The alerts as a rule file for Loki's ruler instead of the dashboard.")
@click.option("--deploy", is_flag=True, help="Make or update the dashboard, its folder and its alert rules in Grafana.")
@click.option(
    "--datasource", metavar="UID", help="Of the Loki that deployed alerts ask; the only one there is by default."
)
def dashboard(
    file: str, params: tuple[str, ...], output: Path | None, rules: bool, deploy: bool, datasource: str | None
) -> int:
    """Print the Grafana dashboard of a load file, or deploy it."""
    from wasp_ray.errors import BadInput
    from wasp_ray.grafana.command import LoadedDashboard, write
    from wasp_ray.report.terminal import pairs

    if deploy and (rules or output):
        raise BadInput(f"--deploy with {'--rules' if rules else '--output'}: leave one of them out")
    if datasource and not deploy:
        raise BadInput(
            "--datasource without --deploy: expected both, it names the Loki that deployed alert rules query"
        )
    loaded = LoadedDashboard(file, pairs(params, "-p"))
    if deploy:
        loaded.deploy(datasource, click.echo)
        return 0
    text = loaded.rules() if rules else loaded.text()
    if output is None:
        click.echo(text, nl=False)
    else:
        write(text, output)
    return 0
