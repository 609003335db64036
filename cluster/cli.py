"""`wasp cluster ...`: reads options, prints, exits with the verdict's code. It decides nothing."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import click
import yaml

from wasp_ray.cluster.config import ClusterConfig
from wasp_ray.cluster.credentials import Credentials
from wasp_ray.cluster.execution import ClusterExecution
from wasp_ray.cluster.images import build_image
from wasp_ray.cluster.kube import Kube
from wasp_ray.cluster.manifests import setup_objects, to_yaml
from wasp_ray.cluster.place import place_of
from wasp_ray.cluster.profile import Deployment
from wasp_ray.cluster.sources import from_toml
from wasp_ray.errors import BadInput
from wasp_ray.report.bundle_writer import shown_path
from wasp_ray.report.options import result_options
from wasp_ray.report.terminal import TerminalView, pairs, say, show_table

RUN_EXAMPLES = """\b
Examples:
  wasp cluster run load.py --image registry.example/load:1 --jobs 10 --timeout 1h
  wasp cluster run load.py:nightly --image ... --jobs 40 -p users=500 --secret API_KEY
  wasp cluster run load.py --image ... --jobs 2 --dry-run     prints what would be made, makes nothing

\b
Every option may stand in wasp.toml ([cluster]) or in WASP_CLUSTER_<NAME>.
Exit codes: as `wasp run`.
"""


@click.group()
def cluster() -> None:
    """See wasp_ray.cli, which shows this group and imports it when it is needed."""


def where_options(command: Any) -> Any:
    """Which cluster, which namespace."""
    for option in reversed((
        click.option("--namespace", "-n", metavar="NS", help="Default: wasp, or as wasp.toml says."),
        click.option("--context", metavar="NAME", help="Of the kubeconfig; its current one by default."),
        click.option("--kubeconfig", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE"),
    )):  # fmt: skip
        command = option(command)
    return command


def kube_of(namespace: str | None, context: str | None, kubeconfig: Path | None) -> Kube:
    """The cluster and namespace that options, environment and wasp.toml name."""
    place = place_of(namespace, context, kubeconfig)
    if place.toml is not None:
        click.echo(f"namespace or context from {place.toml}", err=True)
    return Kube(Credentials(place.context, place.kubeconfig), place.namespace)


@cluster.command(epilog=RUN_EXAMPLES)
@click.argument("test", metavar="FILE[:NAME]")
@where_options
@click.option("--image", metavar="IMAGE", help="Of the nodes; `wasp cluster image build` makes it.")
@click.option("--jobs", metavar="N", type=click.IntRange(1), help="Nodes, a pod each.")
@click.option("--timeout", metavar="DURATION", help="Of the run, from the common start. Default: 1h.")
@click.option("--deploy-timeout", metavar="DURATION", help="All nodes must be ready by then. Default: 10m.")
@click.option("--chart", metavar="CHART", help="A folder, an archive or oci://...; built-in manifests by default.")
@click.option(
    "--values",
    "value_files",
    multiple=True,
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="FILE",
    help="YAML with values; later ones win.",
)
@click.option(
    "--set", "value_pairs", multiple=True, metavar="KEY=VALUE", help="One value, as resources.requests.cpu=2."
)
@click.option(
    "--secret",
    "secrets",
    multiple=True,
    metavar="NAME",
    help="A variable of this environment that travels in a Secret.",
)
@click.option(
    "--env-from", multiple=True, metavar="secret/NAME", help="All keys of a Secret or ConfigMap as variables."
)
@click.option(
    "-p", "--param", "params", multiple=True, metavar="NAME=VALUE", help="An argument of the profile function."
)
@click.option("-e", "--env", "env", multiple=True, metavar="NAME[=VALUE]", help="A variable of every node.")
@click.option("--only", metavar="GENERATOR", help="Run this Generator alone.")
@click.option("--threshold", "thresholds", multiple=True, metavar="EXPRESSION", help="Added to those of the load file.")
@click.option("--load", type=click.Choice(["total", "per-node"]), help="total (default): split exactly over the nodes.")
@click.option("--seed", type=int, help="Of all random streams; drawn when not given.")
@click.option("--run-id", metavar="ID", help="A DNS label; drawn from the file's name when not given.")
@click.option("--keep", "keep_jobs", is_flag=True, default=None, help="Remove nothing at the end.")
@click.option(
    "--detach", is_flag=True, default=None, help="The controller runs in the cluster; `attach` gets the verdict."
)
@click.option("--build", "update_image", is_flag=True, default=None, help="Build and push the image first.")
@click.option(
    "--build-root", type=click.Path(path_type=Path), metavar="DIR", help="With --build: what goes into the image."
)
@result_options
@click.option("--dry-run", is_flag=True, help="Check everything, print the objects, make nothing.")
def run(dry_run: bool, value_files: tuple[Path, ...], value_pairs: tuple[str, ...], params: tuple[str, ...],
        env: tuple[str, ...], step_summary: Path | None, **options: Any) -> int:  # fmt: skip
    """Deploy a load file's image on N pods, start them together, follow, judge, remove."""
    config = ClusterConfig(
        **{name: (list(value) or None) if isinstance(value, tuple) else value for name, value in options.items()},
        values=values_of(value_files, value_pairs) or None, params=pairs(params, "-p") or None, env=variables(env) or None,
    )  # fmt: skip
    deployment = Deployment(config)
    toml = from_toml(Path.cwd())
    if toml.options:
        click.echo(f"options from {toml.path}: {', '.join(sorted(toml.options))}", err=True)
    if dry_run:
        warn(deployment.prepare(click.echo))
        click.echo(deployment.printed(), nl=False)
        return 0
    click.echo(
        f"cluster {deployment.credentials.name}, namespace {config.namespace}: {config.jobs} pods of {config.image},"
        f" run {deployment.names.run}"
    )
    if config.detach:
        warn(deployment.prepare(click.echo))
        deployment.detach()
        click.echo(f"it goes on in the cluster; its verdict: wasp cluster attach {deployment.names.run}")
        return 0
    view = TerminalView(bool(config.quiet), False)
    return conclude(deployment.execution(view, say, wants_bundle=True, step_summary=step_summary), config.out)


def warn(warnings: list[str]) -> None:
    """On stderr: the objects of a dry run are read by others."""
    for text in warnings:
        click.echo(f" ! {text}", err=True)


def conclude(execution: ClusterExecution, out: Path | None) -> int:
    """Runs to the verdict and prints it."""
    if sys.stdout.isatty():
        os.environ["WASP_TTY"] = "1"
    outcome = execution.run()
    code: int = outcome.judged.exit_code
    show_table(outcome.summary, code, shown_path(outcome.path, out))
    if execution.failure is not None:  # whole: what is to be done now stands at its end, where the table may cut it
        say(f"wasp: {execution.failure}", err=True)
    return code


def values_of(files: tuple[Path, ...], pairs_given: tuple[str, ...]) -> dict[str, Any]:
    """Values of files and of --set, later ones over earlier ones. Raises BadInput."""
    from wasp_ray.cluster.wording import merged

    found: dict[str, Any] = {}
    for path in files:
        try:
            loaded = yaml.safe_load(path.read_text())
        except (OSError, yaml.YAMLError) as exc:
            raise BadInput(f"--values {path}: expected YAML, found {str(exc).splitlines()[0]}") from exc
        if loaded is not None and not isinstance(loaded, dict):
            raise BadInput(f"--values {path}: expected values by name, found a {type(loaded).__name__}")
        found = merged(found, loaded or {})
    return merged(found, dict(pairs(pairs_given, "--set")))


def variables(texts: tuple[str, ...]) -> dict[str, str]:
    """NAME=VALUE, or NAME alone for the value it has here. Raises BadInput."""
    out = {}
    for text in texts:
        name, given, value = text.partition("=")
        if not given and name not in os.environ:
            raise BadInput(f"-e {text}: the variable is not set here: give it a value, as -e {text}=VALUE")
        out[name] = value if given else os.environ[name]
    return out


@cluster.command(epilog="""\b
Examples:
  wasp cluster setup --namespace wasp
  wasp cluster setup --namespace wasp --bind user:alice --bind serviceaccount:ci
""")  # fmt: skip
@where_options
@click.option("--bind", multiple=True, metavar="KIND:NAME", help="user:, group: or serviceaccount: that may run tests.")
def setup(namespace: str | None, context: str | None, kubeconfig: Path | None, bind: tuple[str, ...]) -> int:
    """Make what a namespace needs once: service accounts and their rights. Safe to repeat."""
    kube = kube_of(namespace, context, kubeconfig)
    for obj in setup_objects(bind):
        known = kube.get(obj["kind"], obj["metadata"]["name"])
        if known is None:
            kube.create(obj)
        else:
            kube.patch(
                obj["kind"], obj["metadata"]["name"], {k: v for k, v in obj.items() if k in ("rules", "subjects")}
            )
        click.echo(f"{obj['kind']} {obj['metadata']['name']}: {'made' if known is None else 'up to date'}")
    click.echo(f"namespace {kube.namespace} of {kube.credentials.name} is ready for runs")
    return 0


@cluster.command()
@click.option("--bind", multiple=True, metavar="KIND:NAME", help="user:, group: or serviceaccount: that may run tests.")
def rbac(bind: tuple[str, ...]) -> int:
    """Print what `setup` makes, for an administrator: wasp cluster rbac | kubectl -n NS apply -f -"""
    click.echo(to_yaml(setup_objects(bind)), nl=False)
    return 0


@cluster.group()
def image() -> None:
    """The container image of a test."""


@image.command("build", epilog="""\b
Examples:
  wasp cluster image build --build-root tests/load --tag registry.example/load:1 --push
  wasp cluster image build --build-root . --tag load:1 --offline       no network inside the build
""")  # fmt: skip
@click.option(
    "--build-root",
    required=True,
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    metavar="DIR",
    help="The folder that becomes the working directory.",
)
@click.option("--tag", required=True, metavar="IMAGE")
@click.option("--push", is_flag=True, help="Push it afterwards, with the login of docker or podman.")
@click.option("--offline", is_flag=True, help="Gather wheels here; build without a network.")
@click.option("--platform", metavar="OS/ARCH", help="As linux/arm64; this machine's by default.")
def build(build_root: Path, tag: str, push: bool, offline: bool, platform: str | None) -> int:
    """Build the image: DIR, what it requires, and this version of wasp_ray."""
    build_image(build_root, tag, push=push, offline=offline, platform=platform, progress=click.echo)
    click.echo(f"{tag} is built{' and pushed' if push else ''}. Run it: wasp cluster run FILE --image {tag} --jobs 2")
    return 0


def add_run_commands() -> None:
    """Those for runs that are there already are a module of their own."""
    from wasp_ray.cluster.cli_runs import COMMANDS

    for command in COMMANDS:
        cluster.add_command(command)


add_run_commands()
