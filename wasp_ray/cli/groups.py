"""Groups of commands: how a command ends, with which exit code and messages, and the group whose part may not be installed."""

from __future__ import annotations

import os
import sys
import traceback
from typing import Any, NoReturn

import click

BAD_INPUT, FAILED_TO_RUN, INTERNAL = 2, 4, 5


class Cli(click.Group):
    """Bad input is exit 2, what could not be made or finished 4, unknown trouble 5."""

    def main(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Runs a command; never exits with 1 but for a failed verdict."""
        from wasp_ray.errors import BadInput, WaspError
        from wasp_ray.report.terminal import flush_output

        try:
            code = super().main(*args, **{**kwargs, "standalone_mode": False})
            flush_output()
            sys.exit(code if isinstance(code, int) else 0)
        except BadInput as exc:
            print_problems(exc.problems)
            sys.exit(BAD_INPUT)
        except WaspError as exc:
            click.echo(f"wasp: {exc}", err=True)
            sys.exit(FAILED_TO_RUN)
        except click.exceptions.Abort:
            sys.exit(130)
        except click.exceptions.Exit as exc:
            sys.exit(exc.exit_code)
        except click.ClickException as exc:
            exc.show()
            sys.exit(BAD_INPUT)
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(0)
        except Exception:
            traceback.print_exc()
            click.echo("wasp: internal error: this is a fault of wasp_ray itself; the lines above say where", err=True)
            sys.exit(INTERNAL)


class ClusterGroup(click.Group):
    """The commands of wasp_ray.cluster.cli, which is imported when one is asked for: it costs most of a second."""

    def _loaded(self) -> click.Group:
        from wasp_ray.errors import BadInput

        try:
            from wasp_ray.cluster.cli import cluster as loaded
        except ModuleNotFoundError as exc:
            raise BadInput(
                f"`wasp cluster` needs {exc.name}, which is not installed: pip install 'wasp-ray[cluster]'"
            ) from exc
        return loaded

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Those of the loaded group."""
        return self._loaded().list_commands(ctx)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """One of the loaded group."""
        return self._loaded().get_command(ctx, cmd_name)


def print_problems(problems: list[str]) -> None:
    """One bullet each, to stderr."""
    click.echo(f"wasp: {len(problems)} problem{'s' if len(problems) != 1 else ''}, nothing was started", err=True)
    for problem in problems:
        first, *rest = problem.splitlines() or [""]
        click.echo(f" - {first}", err=True)
        for line in rest:
            click.echo(f"   {line}", err=True)
