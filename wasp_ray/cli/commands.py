"""The commands of one machine: run, plan, init, version."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import click

from wasp_ray.cli.dashboard import dashboard
from wasp_ray.cli.groups import Cli, ClusterGroup
from wasp_ray.cli.push import push
from wasp_ray.report.bundle_writer import shown_path
from wasp_ray.report.options import result_options
from wasp_ray.report.terminal import TerminalView, pairs, show_table

EPILOG_RUN = """\b
Examples:
  wasp run load.py                      run it, live, with a bundle in wasp-runs/latest
  wasp run load.py:nightly -p users=50  a function `nightly(users: int)` returns the Profile
  wasp run load.py --once               one call of each Generator, every request printed
  wasp run load.py --nodes 3            the same load, split over three nodes of this machine
  wasp run load.py --nodes 3 --on ray   or over three hosts of a Ray cluster
  wasp run load.py --threshold "p99(response) of search < 300ms" --junit load.xml --markdown load.md

\b
Exit codes: 0 passed, 1 failed, 2 bad input, 3 invalid, 4 error, 5 internal error, 130 / 143 interrupted.
"""


@click.group(cls=Cli, context_settings={"help_option_names": ["-h", "--help"]}, epilog="""\b
A first load test:
  wasp init            writes load.py
  wasp run load.py     runs it
Shell completion: eval "$(_WASP_COMPLETE=bash_source wasp)" (zsh_source, fish_source).
""")  # fmt: skip
def cli() -> None:
    """Load tests in Python: one process per virtual user, every call accounted for, one verdict."""


@cli.group(cls=ClusterGroup, short_help="Runs on many pods of a Kubernetes cluster.", epilog="""\b
A first run:
  kubectl create namespace wasp
  wasp cluster setup --namespace wasp
  wasp cluster image build --build-root . --tag registry.example/load:1 --push
  wasp cluster run load.py --image registry.example/load:1 --jobs 10
""")  # fmt: skip
def cluster() -> None:
    """Runs on many pods of a Kubernetes cluster: one start, one verdict."""


def shared_options(command: Any) -> Any:
    """Options of `run` and `plan`."""
    for option in reversed((
        click.argument("file", metavar="FILE[:NAME]", type=click.Path()),
        click.option("-p", "--param", "params", multiple=True, metavar="NAME=VALUE", help="An argument of the profile function."),
        click.option("-e", "--env", "env", multiple=True, metavar="NAME[=VALUE]", help="A variable for the load."),
        click.option("--only", metavar="GENERATOR", help="Run this Generator alone."),
        click.option("--threshold", "thresholds", multiple=True, metavar="EXPRESSION", help='One more: "p99 of search < 300ms".'),
        click.option("--nodes", type=click.IntRange(1), default=1, show_default=True, help="Nodes that share the load."),
        click.option("--load", type=click.Choice(["total", "per-node"]), default="total", show_default=True,
                     help="total: the schedule is the whole load, split exactly; per-node: each node does all of it."),
        click.option("--seed", type=int, help="Seed of all random streams; drawn when not given."),
    )):  # fmt: skip
        command = option(command)
    return command


place_option = click.option(
    "--on", "place", default="local", show_default=True, metavar="PLACE",
    help="Where nodes are: local, processes of this machine; ray, hosts of a Ray cluster.",
)  # fmt: skip


@cli.command(epilog=EPILOG_RUN)
@shared_options
@click.option(
    "--once", is_flag=True, help="One user, one call of each Generator, in this process; every request is printed."
)
@place_option
@click.option(
    "--ray-address",
    metavar="HOST:PORT",
    help="Head of the Ray cluster, or local. Default: RAY_ADDRESS, else one that runs on this machine.",
)
@click.option(
    "--runtime",
    type=click.Choice(["process", "inline"]),
    default="process",
    show_default=True,
    help="inline: everything in one process, for pdb.",
)
@click.option(
    "--no-breaker",
    is_flag=True,
    help="Continue when every call of a Generator fails for 30 s; by default the load is stopped then.",
)
@result_options
def run(
    file: str, params: tuple[str, ...], env: tuple[str, ...], only: str | None, thresholds: tuple[str, ...], seed: int | None,
    once: bool, nodes: int, place: str, ray_address: str | None, load: str, runtime: str, out: Path | None,
    quiet: bool | None, no_breaker: bool, **outputs: Path | None,
) -> int:  # fmt: skip
    """Run a load file, on this machine or on a Ray cluster."""
    from wasp_ray.execution import Outputs, Settings, execution_of, in_pod

    settings = Settings(
        source={"file": file, "params": pairs(params, "-p")}, seed=seed, thresholds=list(thresholds), only=only, once=once,
        runtime="inline" if once else runtime, out=out, wants_bundle=not once or out is not None,
        outputs=Outputs(**outputs), user_dir=load_dir(file), nodes=nodes, load=load, breaker=not no_breaker,
    )  # fmt: skip
    check_nodes(settings)
    check_place(settings, place, ray_address)
    settings.env = set_environment(env)
    check_runtime(settings)
    view = TerminalView(bool(quiet), once)
    if in_pod():
        settings.wants_bundle = False
        execution_of(settings, view).run()
        return 0  # the result is reported; the controller judges it
    outcome = execution_of(settings, view, place).run()
    code = outcome.judged.exit_code
    show_table(outcome.summary, code, shown_path(outcome.path, settings.out))
    return code


def check_nodes(settings: Any) -> None:
    """Several nodes are several processes."""
    from wasp_ray.errors import BadInput

    if settings.nodes > 1 and settings.runtime == "inline":
        option = "--once" if settings.once else "--runtime inline"
        raise BadInput(f"--nodes {settings.nodes} with {option}, which stays in one process: leave one of them out")


def check_place(settings: Any, place: str, ray_address: str | None) -> None:
    """What only Ray is asked for."""
    from wasp_ray.errors import BadInput

    if ray_address is not None and place != "ray":
        raise BadInput(f"--ray-address with --on {place}: expected --on ray with it")
    if place != "local" and settings.runtime == "inline":
        option = "--once" if settings.once else "--runtime inline"
        raise BadInput(f"--on {place} with {option}, which stays in this process: leave one of them out")
    settings.address = ray_address


def check_runtime(settings: Any) -> None:
    """Falls back to the inline runtime where there is no memfd, and says so."""
    from wasp_ray.wire.arena import has_memfd

    if settings.runtime == "process" and not has_memfd():
        settings.runtime = "inline"
        text = "this system has no memfd: the run is made by the inline runtime, in one process"
        settings.warnings.append(text)
        click.echo(text, err=True)


@cli.command(epilog="""\b
Examples:
  wasp plan load.py
  wasp plan load.py -p users=50 --only checkout
  wasp plan load.py --on ray           where users may have a placement
""")  # fmt: skip
@shared_options
@place_option
def plan(
    file: str,
    params: tuple[str, ...],
    env: tuple[str, ...],
    only: str | None,
    thresholds: tuple[str, ...],
    seed: int | None,
    nodes: int,
    load: str,
    place: str,
) -> int:
    """Check a load file and say what it would do; starts nothing."""
    from wasp_ray.node.node import Node
    from wasp_ray.node.options import NodeOptions
    from wasp_ray.report.describe import describe_plan
    from wasp_ray.report.listener import Listener

    set_environment(env)
    source = {"file": file, "params": pairs(params, "-p")}
    options = NodeOptions(
        source=source, run_id="plan", seed=seed, thresholds=list(thresholds), only=only, user_dir=load_dir(file), nodes=nodes,
        load=load, places=place == "ray",
    )  # fmt: skip
    node = Node(options, Listener())
    described = node.describe()
    for line in describe_plan(described, node.needs()):
        click.echo(line)
    for warning in node.findings.warnings:
        click.echo(f" ! {warning}")
    return 0


@cli.command(epilog="""\b
Examples:
  wasp init              writes load.py
  wasp init tests/api.py
""")  # fmt: skip
@click.argument("file", type=click.Path(path_type=Path), default="load.py")
def init(file: Path) -> int:
    """Write a first load file that runs as it is."""
    from importlib.resources import files

    from wasp_ray.errors import BadInput

    if file.exists():
        raise BadInput(f"{file} is there already: name another file, as `wasp init other.py`")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(files("wasp_ray").joinpath("templates/load.py").read_text())
    except OSError as exc:
        raise BadInput(f"{file} cannot be written ({exc.strerror or exc}): name another file") from exc
    click.echo(f"{file} is written. Run it with: wasp run {file}")
    return 0


@cli.command()
def version() -> int:
    """Print the versions of wasp_ray and Python."""
    import platform

    from wasp_ray._version import __version__

    click.echo(f"wasp_ray {__version__}, Python {platform.python_version()}, {platform.system()} {platform.machine()}")
    return 0


cli.add_command(dashboard)
cli.add_command(push)


def set_environment(texts: tuple[str, ...]) -> dict[str, str]:
    """Variables of the load, which this process' children inherit; returns them. Values never appear on a command line of
    ours.
    """
    from wasp_ray.errors import BadInput

    out = {}
    for text in texts:
        name, found, value = text.partition("=")
        if found and name:
            os.environ[name] = value
        elif name not in os.environ:
            raise BadInput(f"-e {text}: the variable is not set here: give it a value, as -e {text}=VALUE")
        out[name] = os.environ[name]
    if sys.stdout.isatty():
        os.environ["WASP_TTY"] = "1"
    return out


def load_dir(file: str) -> str:
    """The load file's folder."""
    return str(Path(file.rpartition(":")[0] if ":" in file else file).resolve().parent)


def main() -> None:
    """The console script."""
    cli.main(prog_name="wasp")


if __name__ == "__main__":
    main()
