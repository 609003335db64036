"""The configuration of a cluster run: options from Python, the environment and wasp.toml, as one checked model.

Owns precedence and what an option is called. Which values a run has is said in values.py, and derives from here.
"""

from __future__ import annotations

import difflib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from wasp_ray._version import __version__
from wasp_ray.cluster import value_types as t
from wasp_ray.cluster.naming import RunNames, problem_of_run_id, run_names
from wasp_ray.cluster.place import DEFAULT_NAMESPACE, PREFIX, check_namespace
from wasp_ray.cluster.sources import AS_VALUES, from_toml, refused, shaped
from wasp_ray.cluster.values import Values, chart_schema, chart_schema_text
from wasp_ray.cluster.wording import merged, sentences
from wasp_ray.errors import BadInput
from wasp_ray.stats.grammar import ThresholdError
from wasp_ray.stats.thresholds import parse

__all__ = ["ClusterConfig", "RunNames", "Values", "chart_schema", "chart_schema_text", "run_names"]

LABELS_ANNOTATION = "wasp.dev/labels"
_ENV_FROM = re.compile(r"(secret|configmap)/([a-z0-9][-a-z0-9.]*)")
_ENV_FROM_KEYS = {"secret": "secretRef", "configmap": "configMapRef"}


def _threshold(value: object) -> object:
    try:
        parse(str(value))
    except ThresholdError as exc:
        raise ValueError(str(exc)) from None
    return value


def _env_from(value: object) -> object:
    if not isinstance(value, str) or not _ENV_FROM.fullmatch(value):
        raise ValueError(f"expected secret/NAME or configmap/NAME, found {value!r}")
    return value


def _run_id(value: object) -> object:
    if value and (problem := problem_of_run_id(str(value))):
        raise ValueError(problem)
    return value


class ClusterConfig(BaseSettings):
    """Options of a run in a cluster.

    Each may be an argument, an environment variable WASP_CLUSTER_<NAME>, or a key of the section [cluster] of a wasp.toml
    in the working directory or the nearest parent within its repository that has one; `kubeconfig`, secret values and paths
    outside of the repository are refused there. Precedence: argument > environment > wasp.toml > default;
    mappings (values, env, labels, params, secrets) are merged key by key in this order, lists are replaced. An argument
    that is None counts as not given, an empty variable as not set. jobs, image, test, timeout, deploy_timeout, drain and
    on_lost_node are values too (jobs, image, test.name, test.timeout, ...): the stronger source counts, within one source
    the option. In a variable, a list is JSON or one item a line, a mapping is JSON or NAME=VALUE a line. Paths in wasp.toml
    begin at its folder. Durations are written as "1h30m" or as seconds.

    Raises BadInput with one sentence for each problem; values of secrets are in none, nor in any repr or dump.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, enable_decoding=False, env_ignore_empty=True, extra="forbid", frozen=True,
        hide_input_in_errors=True, coerce_numbers_to_str=True, use_attribute_docstrings=True,
    )  # fmt: skip

    namespace: Annotated[str, BeforeValidator(check_namespace)] = Field(default=DEFAULT_NAMESPACE, examples=["wasp"])
    """Where the run lives; `wasp cluster setup` prepares it."""
    context: str | None = None
    """Of the kubeconfig; None: its current one, or the service account within a pod."""
    kubeconfig: Path | None = None
    test: t.LoadFile = Field(default="", examples=["load.py", "load.py:nightly"])
    """FILE[:NAME] inside the image, relative to its BUILD_ROOT."""
    image: t.Image = Field(default="", examples=["registry.example/team/load:1.4"])
    jobs: t.Jobs = Field(default=1, examples=[10])
    """Number of nodes, a pod each."""
    chart: str | None = Field(default=None, examples=["charts/wasp", "oci://registry.example/charts/wasp"])
    """None: the built-in manifests. Else a folder, an archive or oci://..., rendered by `helm template`."""
    values: Values = Field(default_factory=Values, examples=[{"resources.requests.cpu": "2000m"}])
    """Values of the chart and of the built-in manifests, keys nested or dotted. A custom chart gets unknown ones as well."""
    timeout: t.Duration = Field(default="1h", examples=["1h30m"])
    """From the common start; a run that is not over then is an error."""
    deploy_timeout: t.Duration = Field(default="10m", examples=["10m"])
    """All nodes must be ready by then."""
    drain: t.Duration = Field(default="60s", examples=["60s"])
    """What nodes that are told to stop have for their results."""
    on_lost_node: Literal["stop", "continue"] = Field(default="stop", examples=["continue"])
    """A run that lost a node is invalid either way."""
    load: Literal["total", "per-node"] = Field(default="total", examples=["per-node"])
    """total: the schedule is the whole load, split exactly; per-node: each node does all of it."""
    run_id: Annotated[str | None, BeforeValidator(_run_id)] = Field(default=None, examples=["nightly-7"])
    """None: the name of the load file and four random letters."""
    keep_jobs: bool = Field(default=False, examples=[True])
    """Nothing is removed at the end."""
    update_image: bool = Field(default=False, examples=[True])
    """Build and push the image first."""
    build_root: Path | None = Field(default=None, examples=["tests/load"])
    """Folder of the build context that becomes the working directory of the image."""
    detach: bool = Field(default=False, examples=[True])
    """The controller runs as a Job in the cluster."""
    env: dict[str, t.Text] = Field(default={}, examples=[{"TARGET": "https://shop.example"}])
    """Variables of every node."""
    env_from: list[Annotated[str, BeforeValidator(_env_from)]] = Field(default=[], examples=[["secret/api-keys"]])
    """Secrets and ConfigMaps of the namespace all of whose keys become variables."""
    secrets: dict[str, t.Secret] = Field(default={}, examples=[["API_KEY"]])
    """Variables of every node that travel in the run's Secret only: a mapping, or names of variables of this environment."""
    labels: dict[str, t.Text] = Field(default={}, examples=[{"branch": "main"}])
    """Go to annotations and results, never to Kubernetes labels."""
    thresholds: list[Annotated[str, BeforeValidator(_threshold)]] = Field(default=[], examples=[["failed < 1%"]])
    """Added to those of the load file."""
    params: dict[str, t.Text] = Field(default={}, examples=[{"users": "50"}])
    """Arguments of the load file's profile function."""
    only: str | None = Field(default=None, examples=["checkout"])
    """Run this Generator alone."""
    seed: int | None = Field(default=None, examples=[7])
    """Of all random streams; None: drawn."""
    out: Path | None = Field(default=None, examples=["results"])
    """Folder of the bundle; None: wasp-runs/TIME-NAME."""
    json_path: Path | None = Field(default=None, examples=["result.json"])
    """A copy of summary.json."""
    junit_path: Path | None = Field(default=None, examples=["result.xml"])
    """The result as JUnit XML."""
    markdown_path: Path | None = Field(default=None, examples=["result.md"])
    """The result as Markdown."""
    quiet: bool = Field(default=False, examples=[True])

    def __init__(self, **given: Any) -> None:
        layers, problems = _layers(type(self), given)
        options: dict[str, Any] = {}
        for layer in layers:
            options = merged(options, layer)
        try:
            super().__init__(**options)
        except ValidationError as exc:
            problems += sentences(exc, type(self), _origins(layers))
        if problems:  # outside of `except`: the error of pydantic holds what it was given, secrets too
            raise BadInput(_once(problems))

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The sources are merged in __init__, each brought into shape first."""
        return (init_settings,)

    @field_validator("values", mode="before")
    @classmethod
    def _values(cls, given: Any, info: ValidationInfo) -> Values:
        if isinstance(given, Values):  # the default
            return given
        try:
            return Values.of(given, foreign=bool(info.data.get("chart")))
        except BadInput as exc:
            problems = exc.problems
        raise t.Problems(problems)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        problems = []
        if self.update_image and self.build_root is None:
            problems.append(
                "update_image: expected build_root with it, found none: name the folder that goes into the image"
            )
        for name in sorted(set(self.env) & set(self.secrets)):
            problems.append(f"secrets.{name}: expected each variable once, found it in env too: leave one out")
        if problems:
            raise t.Problems(problems)
        return self

    @property
    def name(self) -> str:
        """What the run is called: its load file without folder and ending."""
        return Path(self.test.partition(":")[0]).stem or "run"

    def names(self) -> RunNames:
        """New names for a run, drawn afresh at each call unless run_id is set."""
        return run_names(self.name, self.run_id)

    def run_values(self, names: RunNames, *, seed: int | None = None, controller: bool = False) -> Values:
        """The values of a run: what manifests and charts are rendered from.

        seed: of all nodes, when the configuration has none. controller: a chart renders the controller's Job too.
        Raises BadInput when image or test is missing, or when options and values together are no good.
        """
        missing = [
            f"{option}: expected {wanted}, found none: give {option}=, {PREFIX}{option.upper()} or a key of wasp.toml"
            for option, wanted in (("image", "the image of the nodes"), ("test", "the load file inside the image"))
            if not getattr(self, option)
        ]
        if missing:
            raise BadInput(missing)
        extra = {
            "run": names.run,
            "sync": names.sync,
            "order": json.dumps(self._order(seed), sort_keys=True, separators=(",", ":")),
            "secretEnv": {name: value.get_secret_value() for name, value in self.secrets.items()},
            "envFrom": [*self.values.env_from, *map(_env_source, self.env_from)],
            "extraEnv": _with_env(self.values.extra_env, self.env),
            "annotations": {LABELS_ANNOTATION: json.dumps(self.labels, sort_keys=True)} if self.labels else {},
            "controller": {"enabled": controller},
        }
        given = {key: value for key, value in extra.items() if value}
        return Values.of(merged(self.values.to_chart(), given), foreign=bool(self.chart))

    def _order(self, seed: int | None) -> dict[str, Any]:
        """What nodes are told beyond their values: the parameters of the load."""
        order = {
            "params": self.params,
            "thresholds": self.thresholds,
            "only": self.only,
            "seed": self.seed if self.seed is not None else seed,
            "load": self.load,
            "labels": self.labels,
            "version": __version__,  # a controller in the image compares it with its own
        }
        return {key: value for key, value in order.items() if value not in (None, {}, [])}


def _layers(model: type[ClusterConfig], given: Mapping[str, Any]) -> tuple[list[dict[str, Any]], list[str]]:
    """What each source says, the weakest first, and what is wrong with how it says it."""
    toml = from_toml(Path.cwd())
    problems = [*toml.problems, *refused(toml)]
    out = []
    environment = EnvSettingsSource(model)()
    for raw in (toml.options, environment, {name: value for name, value in given.items() if value is not None}):
        layer, wrong = shaped(raw)
        out.append(layer)
        problems += wrong
    return out, problems + list(_mistyped_variables(model))


def _mistyped_variables(model: type[ClusterConfig]) -> list[str]:
    """Only what is nearly an option: Kubernetes sets WASP_CLUSTER_* of its own beside a Service called wasp-cluster."""
    options = {PREFIX + name.upper() for name in model.model_fields}
    out = []
    for name in sorted(os.environ):
        if name.upper().startswith(PREFIX) and name.upper() not in options:
            near = difflib.get_close_matches(name.upper(), options, n=1, cutoff=0.9)
            if near:
                out.append(f"{name}: no such option: did you mean {near[0]}?")
    return out


def _origins(layers: list[dict[str, Any]]) -> dict[str, str]:
    """For options that are no arguments, where they come from."""
    toml, environment, arguments = layers
    found = {
        **dict.fromkeys(toml, "wasp.toml"),
        **{name: PREFIX + name.upper() for name in environment},
    }
    return {name: where for name, where in found.items() if name not in arguments}


def _once(problems: list[str]) -> list[str]:
    """Options that are values too would be told twice."""
    told = {
        path
        for option, path in AS_VALUES.items()
        if any(text.startswith((f"{option}:", f"{option} (")) for text in problems)
    }
    return [text for text in problems if not any(text.startswith(f"values.{path}:") for path in told)]


def _env_source(text: str) -> dict[str, Any]:
    kind, _, name = text.partition("/")
    return {_ENV_FROM_KEYS[kind]: {"name": name}}


def _with_env(extra: dict[str, str] | list[dict[str, Any]], env: Mapping[str, str]) -> Any:
    """An option wins over a value."""
    if isinstance(extra, Mapping):
        return {**extra, **env}
    return [item for item in extra if item["name"] not in env] + [
        {"name": name, "value": env[name]} for name in sorted(env)
    ]
