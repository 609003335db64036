"""The values of a run: what charts/wasp takes and what the built-in manifests are made of. Pure.

Keys may be nested or dotted (`{"env.loki.url": ...}`), numbers may be texts ("40"). The chart's values.schema.json derives
from this model, and charts/wasp/values.yaml has its defaults. Secrets are SecretStr: no repr, error or dump shows them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, SecretStr, ValidationError, model_validator
from pydantic.alias_generators import to_camel

from wasp_ray.cluster import value_types as t
from wasp_ray.cluster.lifecycle import Terms
from wasp_ray.cluster.wording import merged, nested_values, sentences
from wasp_ray.cluster.yaml_text import likely_secrets
from wasp_ray.errors import BadInput

SPARE_S = 60
"""What a pod may live beyond the deadlines of its run, so that it is the controller that ends it and not the kubelet."""


class Part(BaseModel):
    """A group of values; names are those of the chart."""

    model_config = ConfigDict(
        alias_generator=to_camel, extra="forbid", frozen=True, populate_by_name=True, coerce_numbers_to_str=True,
        hide_input_in_errors=True, use_attribute_docstrings=True,
    )  # fmt: skip


class Loki(Part):
    """Where results go while the load runs."""

    url: t.Url = Field(default="", examples=["https://loki.example"])
    """Base address, without user and password; empty: nothing is pushed."""
    token: t.Secret = Field(default=SecretStr(""), examples=["(a token)"])
    """Bearer token; goes into the Secret of the run only."""
    existing_secret: t.Name = Field(default="", examples=["loki-credentials"])
    """A Secret of the namespace whose keys (LOKI_TOKEN, LOKI_BASIC_AUTH) become variables: keeps tokens out of values."""
    tenant_id: t.Text = Field(default="", examples=["team-a"])
    """X-Scope-OrgID."""
    basic_auth: t.Secret = Field(default=SecretStr(""), examples=["user:password"])
    """USER:PASSWORD; goes into the Secret of the run only."""


class Logging(Part):
    """How much the nodes say."""

    log_level: t.LogLevel = Field(default="info", alias="log_level", examples=["debug"])
    """trace, debug, info, warn, warning, error or critical."""


class Environment(Part):
    """Variables of the nodes that have a meaning to wasp_ray."""

    loki: Loki = Field(default_factory=Loki)
    wasp: Logging = Field(default_factory=Logging)


class Load(Part):
    """What is run."""

    name: t.LoadFile = Field(default="", examples=["load.py", "load.py:nightly"])
    """FILE[:NAME] inside the image, relative to its BUILD_ROOT."""
    timeout: t.Duration = Field(default="1h", examples=["1h30m"])
    """From the common start; a run that is not over then is an error."""


class Resources(Part):
    """Resources of a container by name (cpu, memory, ephemeral-storage, hugepages-*, vendor/name)."""

    requests: Annotated[dict[t.ResourceName, t.Quantity], t.OPEN] = Field(default={}, examples=[{"cpu": "2000m"}])
    limits: Annotated[dict[t.ResourceName, t.Quantity], t.OPEN] = Field(default={}, examples=[{"memory": "512Mi"}])


class ControllerValues(Part):
    """The controller as a Job beside the nodes."""

    enabled: t.Switch = Field(default=True, examples=[True])
    """A chart installed alone needs it; `wasp cluster run` is the controller itself and renders without."""
    resources: Resources = Field(default_factory=Resources)


class Values(Part):
    """The values of one run. Make it with `Values.of`."""

    run: t.RunId = Field(default="", examples=["checkout-x7k2"])
    """Run id, a DNS label of at most 40 characters: objects are named wasp-RUN. Empty in the chart: the release's name."""
    sync: t.SyncId = Field(default="", examples=["a1b2c3d4"])
    """Label by which the nodes of a run know each other. Empty: derived from the run id."""
    image: t.Image = Field(default="", examples=["registry.example/team/load:1.4"])
    """Image of the nodes, built from Dockerfile.test."""
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = Field(default="IfNotPresent", examples=["Always"])
    jobs: t.Jobs = Field(default=1, examples=[10])
    """Number of nodes, a pod each."""
    test: Load = Field(default_factory=Load)
    env: Environment = Field(default_factory=Environment)
    order: t.Order = Field(default="{}", examples=['{"seed": 7}'])
    """JSON object for the nodes: params, thresholds, only, seed, load, labels."""
    secret_env: Annotated[dict[t.EnvName, t.Secret], t.OPEN] = Field(default={}, examples=[{"API_KEY": "(a key)"}])
    """Variables of the nodes that go into the Secret of the run only."""
    extra_env: Annotated[t.ExtraEnv, t.OPEN] = Field(default={}, examples=[{"TARGET": "https://shop.example"}])
    """Variables of the nodes and the controller: NAME: value, or a list of Kubernetes EnvVars."""
    env_from: t.EnvFrom = Field(default=[], examples=[[{"secretRef": {"name": "api-keys"}}]])
    """Secrets and ConfigMaps all of whose keys become variables of the nodes."""
    resources: Resources = Field(default_factory=Resources)
    node_selector: Annotated[dict[str, t.LabelValue], t.OPEN] = Field(default={}, examples=[{"pool": "load"}])
    tolerations: t.Objects = Field(default=[], examples=[[{"key": "load", "operator": "Exists"}]])
    affinity: Annotated[dict[str, Any], t.OPEN] = Field(default={}, examples=[{"nodeAffinity": {}}])
    annotations: Annotated[dict[str, t.Text], t.OPEN] = Field(default={}, examples=[{"team": "checkout"}])
    """Of the Job and its pods; they win over those wasp sets to keep sidecars and evictions away."""
    job_labels: Annotated[dict[t.LabelName, t.LabelValue], t.OPEN] = Field(default={}, examples=[{"cost-center": "qa"}])
    pod_labels: Annotated[dict[t.LabelName, t.LabelValue], t.OPEN] = Field(default={}, examples=[{"cost-center": "qa"}])
    host_network: t.Switch = Field(default=False, examples=[True])
    """Pods use the network of their host; not allowed by the baseline and restricted pod-security levels."""
    image_pull_secrets: t.PullSecrets = Field(default=[], examples=[["registry-credentials"]])
    """Names, or {name: NAME} as in Kubernetes."""
    priority_class: t.Name = Field(default="", examples=["batch"])
    scheduler_name: t.Name = Field(default="", examples=["default-scheduler"])
    service_account: t.Name = Field(default="wasp-node", examples=["wasp-node"])
    """Of the nodes; setup.yaml makes it."""
    deploy_timeout: t.Duration = Field(default="10m", examples=["10m"])
    """All nodes must be ready by then."""
    drain: t.Duration = Field(default="1m", examples=["60s"])
    """What nodes that are told to stop have for their results."""
    on_lost_node: Literal["stop", "continue"] = Field(default="stop", examples=["continue"])
    """Either way a run that lost a node is invalid."""
    ttl_seconds_after_finished: t.Seconds = Field(default=86_400, examples=[86_400])
    """How long Kubernetes keeps what nobody removed."""
    controller: ControllerValues = Field(default_factory=ControllerValues)

    _foreign: dict[str, Any] = PrivateAttr(default_factory=dict)

    @classmethod
    def of(cls, raw: Mapping[str, Any], *, foreign: bool = False) -> Self:
        """The values in `raw`, whose keys are nested or dotted.

        foreign: keys not known here belong to a custom chart and are handed on to it unseen; otherwise they are refused.
        Raises BadInput with a sentence for each problem.
        """
        known, unknown, problems = nested_values(cls, raw)
        if not foreign:
            problems += unknown.problems
        try:
            values = cls.model_validate(known)
        except ValidationError as exc:
            problems += sentences(exc, cls)
        if problems:  # outside of `except`: the error of pydantic holds what it was given, secrets too
            raise BadInput(problems)
        values._foreign.update(unknown.tree if foreign else {})
        return values

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        problems = [*_doubled_loki(self.env.loki), *_doubled_names(self)]
        if problems:
            raise t.Problems(problems)
        return self

    @property
    def run_label(self) -> str:
        """The run id. Raises BadInput when there is none: only the chart has a name to take."""
        if not self.run:
            raise BadInput("run: expected a run id, found none: give it, or take one from run_names(NAME)")
        return self.run

    @property
    def sync_label(self) -> str:
        """The sync id; without one it is derived from the run id, the same as in the chart."""
        return self.sync or "a" + hashlib.sha256(self.run_label.encode()).hexdigest()[:7]

    @property
    def pod_deadline_s(self) -> int:
        """How long a pod of a node may live: to become ready, run and drain, and a little more."""
        return sum(map(t.whole_seconds, (self.deploy_timeout, self.test.timeout, self.drain))) + SPARE_S

    def terms(self) -> Terms:
        """What the life cycle holds the run to."""
        return Terms(
            nodes=self.jobs,
            deploy_timeout_s=t.seconds(self.deploy_timeout),
            run_timeout_s=t.seconds(self.test.timeout),
            drain_s=t.seconds(self.drain),
            on_lost_node=self.on_lost_node,
        )

    def secrets(self) -> dict[str, str]:
        """The data of the run's Secret: variable to plain value. Handle with care."""
        loki = {"LOKI_TOKEN": self.env.loki.token, "LOKI_BASIC_AUTH": self.env.loki.basic_auth}
        found = {**{name: value for name, value in loki.items() if value}, **self.secret_env}
        return {name: found[name].get_secret_value() for name in sorted(found)}

    def to_chart(self) -> dict[str, Any]:
        """What was given, normalised, as a chart's values: nested, secrets in the clear. For helm's stdin only."""
        given: dict[str, Any] = _revealed(self.model_dump(by_alias=True, exclude_unset=True))
        return merged(given, self._foreign)

    def secret_texts(self) -> set[str]:
        """Every text that must not be shown; with a custom chart also its values that are called like secrets."""
        found = self.secrets()
        passwords = {text.partition(":")[2] for name, text in found.items() if name.endswith("_BASIC_AUTH")}
        return (set(found.values()) | passwords | set(likely_secrets(self._foreign))) - {""}


def _doubled_loki(loki: Loki) -> list[str]:
    if loki.existing_secret and (loki.token or loki.basic_auth):
        return ["env.loki: expected a token (or basicAuth) or existingSecret, found both: leave one out"]
    return []


def _doubled_names(values: Values) -> list[str]:
    """Variables that would be set twice: Kubernetes takes the last without a word."""
    loki = values.env.loki
    taken = {
        **dict.fromkeys(t.RESERVED_ENV, "set by wasp_ray"),
        **({"LOKI_URL": "env.loki.url"} if loki.url else {}),
        **({"LOKI_TENANT_ID": "env.loki.tenantId"} if loki.tenant_id else {}),
        **({"LOKI_TOKEN": "env.loki.token"} if loki.token else {}),
        **({"LOKI_BASIC_AUTH": "env.loki.basicAuth"} if loki.basic_auth else {}),
    }
    problems = []
    for key, names in (("secretEnv", list(values.secret_env)), ("extraEnv", t.env_names(values.extra_env))):
        for name in names:
            if name in taken:
                problems.append(
                    f"{key}.{name}: expected a variable of your own, found one that is {taken[name]}: leave it out"
                )
            taken[name] = f"in {key} already"
    return problems


def _revealed(data: Any) -> Any:
    match data:
        case SecretStr():
            return data.get_secret_value()
        case dict():
            return {key: _revealed(value) for key, value in data.items()}
        case list():
            return [_revealed(value) for value in data]
    return data


def chart_schema() -> dict[str, Any]:
    """JSON schema of the chart's values, from the model."""
    schema = Values.model_json_schema(by_alias=True)
    _without_titles(schema)
    schema["properties"]["global"] = {"type": "object", "description": "What Helm hands to a chart within a chart."}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "Values of charts/wasp"}


def _without_titles(schema: Any) -> None:
    """pydantic titles everything with its own name; one that is a mapping is a property called title."""
    if isinstance(schema, dict):
        if isinstance(schema.get("title"), str):
            del schema["title"]
        for part in schema.values():
            _without_titles(part)


def chart_schema_text() -> str:
    """charts/wasp/values.schema.json."""
    return json.dumps(chart_schema(), indent=2, sort_keys=True, ensure_ascii=False) + "\n"
