"""What the documentation promises: links lead somewhere, code is Python, commands and options exist, files are whole.

The first load file of the README runs elsewhere.
"""

from __future__ import annotations

import inspect
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from wasp_ray import __version__
from wasp_ray.cli import cli

ROOT = Path(__file__).parents[2]
PAGES = sorted([
    ROOT / "README.md", ROOT / "charts/wasp/README.md", *(ROOT / "examples").rglob("*.md"), *(ROOT / "docs").rglob("*.md"),
])  # fmt: skip
WITH_PYTHON, WITH_TOML, WITH_COMMANDS = (
    [page for page in PAGES if pattern in page.read_text()] for pattern in ("```python\n", "```toml\n", "wasp ")
)
"""A page of decisions, say, has none of them, and is no case of their tests."""
CLUSTER = ROOT / "docs" / "cluster.md"
COMMAND = re.compile(r"wasp (?=[a-z])")


def name_of(page: Path) -> str:
    """As pytest shows it."""
    return str(page.relative_to(ROOT))


def blocks(page: Path, language: str) -> list[str]:
    """Fenced blocks; "" are those without a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)


def commands(text: str) -> Iterator[list[str]]:
    """The words of each `wasp ...` in fenced blocks without language, in YAML, and in inline code."""
    fenced = re.findall(r"^```(?:yaml)?\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    plain = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    lines = [line for block in fenced for line in block.splitlines()]
    for line in [*lines, *re.findall(r"`([^`\n]+)`", plain)]:
        found = COMMAND.match(line.strip().removeprefix("- ").removeprefix("run: ").removeprefix("/venv/bin/"))
        if found:
            words = found.string[found.end() :].partition(" #")[0].partition("   ")[0]
            try:
                yield shlex.split(words)
            except ValueError:
                yield words.split()


def looked_up(words: list[str]) -> tuple[click.Command, list[str]]:
    """The command that words begin with, and the rest."""
    command: click.Command = cli
    while words and isinstance(command, click.Group):
        found = command.get_command(click.Context(command), words[0])
        assert found is not None, f"there is no command {words[0]!r} of {command.name}"
        command, words = found, words[1:]
    return command, words


def options(command: click.Command) -> set[str]:
    """All names of its options."""
    return {"--help", *(name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts))}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_resolve(page: Path) -> None:
    """Relative ones."""
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        assert "://" in target or (page.parent / target).exists(), target


@pytest.mark.parametrize("page", WITH_PYTHON, ids=name_of)
def test_code_compiles(page: Path) -> None:
    """Blocks marked as Python, but for the page of signatures, which is a list."""
    for block in blocks(page, "python"):
        if page.name != "signatures.md":
            compile(block, str(page), "exec")


@pytest.mark.parametrize("page", WITH_COMMANDS, ids=name_of)
def test_every_command_and_option_that_is_named_exists(page: Path) -> None:
    """In blocks and in running text."""
    for words in commands(page.read_text()):
        command, rest = looked_up([word.rstrip(",;:.") for word in words])
        for word in rest:
            if word.startswith("-") and word != "-":
                assert word.partition("=")[0] in options(command), f"{' '.join(words)}: {word}"


def test_commands_are_found_where_they_stand() -> None:
    """The test above is not blind."""
    assert len(list(commands(CLUSTER.read_text()))) > 20
    assert ["run", "load.py", "--nodes", "3"] in list(commands((ROOT / "docs/nodes.md").read_text()))
    with pytest.raises(AssertionError):
        looked_up(["cluster", "dance"])


def test_the_guide_of_clusters_has_every_command_and_option() -> None:
    """And every argument of ClusterConfig, which the page of signatures has with its default."""
    from wasp_ray.cluster import ClusterConfig

    text, signatures = CLUSTER.read_text(), (ROOT / "docs/signatures.md").read_text()
    group, _ = looked_up(["cluster"])
    assert isinstance(group, click.Group)
    context = click.Context(group)
    for name in set(group.list_commands(context)) - {"control"}:  # the controller's own, hidden
        assert f"`wasp cluster {name}" in text, name
    run = group.get_command(context, "run")
    assert run is not None
    for parameter in run.params:
        if isinstance(parameter, click.Option):
            assert any(re.search(rf"[` ]{name}\b", text) for name in parameter.opts), parameter.opts
    section = signatures[signatures.index("ClusterConfig(") :]
    for name, field in ClusterConfig.model_fields.items():
        assert re.search(rf"\b{name}=", section) and (name == "test" or f"`{name}" in text or f", {name}`" in text), (
            name
        )
        default = field.get_default()
        shown = str(default) if isinstance(default, int) else f'"{default}"' if isinstance(default, str) else None
        assert shown is None or f"{name}={shown}" in section, f"{name}={shown}"


def test_messages_of_the_troubleshooting_table_are_those_of_the_code() -> None:
    """Each piece in the first column stands in a source file as it is quoted."""
    folders = ("cluster", "wasp_ray/node", "wasp_ray/execution", "wasp_ray/alerts")
    source = "".join(path.read_text() for folder in folders for path in (ROOT / folder).rglob("*.py"))
    source = re.sub(r'"\n\s+f?"', "", source)  # texts over several lines
    table = CLUSTER.read_text().partition("## Troubleshooting")[2].partition("## Limits")[0]
    quoted = [
        piece for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE) for piece in re.findall(r"`([^`]+)`", row)
    ]
    assert len(quoted) > 15
    assert [piece for piece in quoted if piece not in source] == []


def test_pipelines_are_yaml_and_end_their_run() -> None:
    """Both build, run, stop whatever happened, and keep the bundle."""
    github, gitlab = (yaml.safe_load(text) for text in blocks(ROOT / "docs/ci.md", "yaml")[2:])
    steps = github["jobs"]["load"]["steps"]
    assert {True, "name", "jobs"} == set(github)  # YAML 1.1 reads `on` as true; GitHub does not
    runs = [step.get("run", "") for step in steps]
    build, run, stop = (
        next(i for i, text in enumerate(runs) if f"wasp cluster {name}" in text) for name in ("image", "run", "stop")
    )
    assert build < run < stop and steps[stop]["if"] == "always()" and "--if-exists" in runs[stop]
    kept: dict[str, Any] = next(step for step in steps if "upload-artifact" in step.get("uses", ""))
    assert kept["if"] == "always()" and f"--out {kept['with']['path']}" in runs[run]
    job = gitlab["load test"]
    assert gitlab["variables"]["WASP_RAY"] == f"wasp-ray[cluster]=={__version__}"  # both jobs install it
    installs = [
        text for name in ("image build", "load test") for text in gitlab[name]["before_script"] if "pip install" in text
    ]
    assert len(installs) == 2 and all('"$WASP_RAY"' in text for text in installs)
    assert gitlab["stages"] == [gitlab["image build"]["stage"], job["stage"]]
    assert "wasp cluster image build" in gitlab["image build"]["script"][0] and "wasp cluster run" in job["script"][0]
    assert "--if-exists" in job["after_script"][-1] and job["artifacts"]["when"] == "always"
    assert f"--out {job['artifacts']['paths'][0].rstrip('/')}" in job["script"][0]


def test_pipelines_on_one_machine_run_and_keep_the_results() -> None:
    """Both have the JUnit report within the folder that they keep whatever the verdict is; GitLab has no step summary."""
    github, gitlab = (yaml.safe_load(text) for text in blocks(ROOT / "docs/ci.md", "yaml")[:2])
    steps = github["jobs"]["load"]["steps"]
    run = next(step["run"] for step in steps if step.get("run", "").startswith("wasp run "))
    assert steps[-1]["if"] == "always()" and f"--out {steps[-1]['with']['path']} " in run
    assert "--junit results/load.xml" in run and "--no-step-summary" not in run
    job = gitlab["load test"]
    assert (
        job["artifacts"]["when"] == "always"
        and f"--out {job['artifacts']['paths'][0].rstrip('/')} " in job["script"][0]
    )
    assert f"--junit {job['artifacts']['reports']['junit']}" in job["script"][0] and "--markdown" in job["script"][0]


@pytest.mark.parametrize("page", WITH_TOML, ids=name_of)
def test_toml_is_a_configuration(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a cluster run, as it would be read."""
    from wasp_ray.cluster import ClusterConfig

    for block in blocks(page, "toml"):
        tomllib.loads(block)
        (tmp_path / "wasp.toml").write_text(block)
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("API_KEY", "k")
        config = ClusterConfig(test="load.py")
        assert config.run_values(config.names()).image


def test_every_option_of_a_generator_is_on_the_page_of_signatures() -> None:
    """With its default."""
    from wasp_ray import Generator

    text = (ROOT / "docs" / "signatures.md").read_text()
    for name, parameter in inspect.signature(Generator.__init__).parameters.items():
        if name in ("self", "name", "schedule"):
            continue
        default = repr(parameter.default).replace("'", '"')
        assert f"{name}={default}" in text, f"{name}={default}"
