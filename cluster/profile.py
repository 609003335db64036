"""A run in a Kubernetes cluster, from its configuration to its verdict: what a client, `wasp cluster run` and tests use."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from wasp_ray.cluster import helm
from wasp_ray.cluster.config import ClusterConfig
from wasp_ray.cluster.credentials import Credentials
from wasp_ray.cluster.execution import ClusterExecution
from wasp_ray.cluster.images import build_image
from wasp_ray.cluster.kube import Kube
from wasp_ray.cluster.kube_nodes import KubeNodes
from wasp_ray.cluster.manifests import completed, controller_objects, redacted, run_objects, to_yaml
from wasp_ray.cluster.masking import SHORT, Masker
from wasp_ray.cluster.naming import RunNames
from wasp_ray.cluster.preflight import check
from wasp_ray.cluster.values import Values
from wasp_ray.errors import BadInput
from wasp_ray.execution import Listener, Outputs, Settings
from wasp_ray.profile import RunResult
from wasp_ray.report.redaction import secrets_of


class ClusterProfile:
    """One run of a load file on `config.jobs` pods. `run` once."""

    def __init__(self, config: ClusterConfig) -> None:
        self.config = config

    def run(self) -> RunResult:
        """Deploys, waits, follows, judges and removes. Prints nothing; writes a bundle only with `out`.

        Raises BadInput when nothing was started; a cluster that cannot be asked is a run whose verdict is "error".
        """
        if self.config.detach:
            raise BadInput(
                "detach: ClusterProfile.run() waits for the verdict: leave it out, or use `wasp cluster run --detach`"
            )
        return RunResult.of(Deployment(self.config).execution(Listener(), lambda text: None, wants_bundle=False).run())


class Deployment:
    """What a configuration comes to: names, values and objects of one run."""

    def __init__(self, config: ClusterConfig) -> None:
        """Raises BadInput for a configuration that cannot be run. Asks no cluster yet."""
        self.config = config
        self.names: RunNames = config.names()
        self.seed = config.seed if config.seed is not None else random.SystemRandom().getrandbits(32)
        self.values: Values = config.run_values(self.names, seed=self.seed)
        self.credentials = Credentials(config.context, str(config.kubeconfig) if config.kubeconfig else None)
        self._objects: list[dict[str, Any]] | None = None

    @property
    def objects(self) -> Sequence[dict[str, Any]]:
        """The Job first, then what belongs to it: built in, or as a chart renders them. Raises BadInput."""
        if self._objects is None:
            if self.config.chart is None:
                self._objects = run_objects(self.values)
            else:
                found = helm.render(self.config.chart, self.values, self.config.namespace, kube_version=self._version())
                self._objects = completed(found, self.values)
        return self._objects

    def _version(self) -> str:
        major, minor = Kube(self.credentials, self.config.namespace).version()
        return f"v{major}.{minor}.0"

    def prepare(self, progress: Callable[[str], None]) -> list[str]:
        """Builds the image when asked for, then looks for all that would keep the run from coming up; warnings.

        Raises BadInput, or NodeFailed when there is no cluster to ask.
        """
        config = self.config
        if config.update_image and config.build_root is not None:
            build_image(config.build_root, config.image, push=True, progress=progress)
        found = check(Kube(self.credentials, config.namespace), self.objects)
        masker = Masker(self.values.secret_texts())  # the API server may quote what it refuses
        if found.errors:
            raise BadInput([masker.text(text) for text in found.errors])
        return [masker.text(text) for text in found.warnings] + self._shown_secrets()

    def _shown_secrets(self) -> list[str]:
        """A warning where a chart writes secret values into objects that more people may read; short ones stand there by chance."""
        masker = Masker(text for text in self.values.secret_texts() if len(text) >= SHORT)
        showing = [
            f"{obj['kind']} {obj['metadata']['name']}"
            for obj in self.objects
            if obj["kind"] != "Secret" and masker.tree(obj) != obj
        ]
        if self.config.chart is None or not showing:
            return []
        return [
            f"the chart writes secret values into {', '.join(showing[:5])}{' and others' if len(showing) > 5 else ''}, where all"
            " who may read these see them: expected them in a Secret only; use secretKeyRef in the template"
        ]

    def printed(self) -> str:
        """The objects as YAML without any secret value: what a dry run shows."""
        return to_yaml(Masker(self.values.secret_texts()).tree(redacted(self.objects)))

    def detach(self) -> None:
        """Makes the run with a controller of its own in the cluster, which begins it. Raises BadInput or KubeError."""
        kube = Kube(self.credentials, self.config.namespace)
        root, *rest = self.objects
        made = kube.create(root)
        owner = {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "name": made["metadata"]["name"],
            "uid": made["metadata"]["uid"],
        }
        for obj in [*rest, *controller_objects(self.values)]:
            kube.create({**obj, "metadata": {**obj["metadata"], "ownerReferences": [owner]}})

    def execution(
        self, view: Listener, progress: Callable[[str], None], *, wants_bundle: bool, step_summary: Path | None = None
    ) -> ClusterExecution:
        """The run, which begins with `prepare`. Raises BadInput for a bundle that cannot be."""
        config = self.config
        settings = Settings(
            source={"file": config.test}, seed=self.seed, nodes=config.jobs, load=config.load, out=config.out,
            wants_bundle=wants_bundle, run_id=self.names.run, image=config.image, user_dir=str(Path.cwd()), foreign_plan=True,
            outputs=Outputs(config.json_path, config.junit_path, config.markdown_path, step_summary),
            secret_values=[*self.values.secret_texts(), *secrets_of(config.env), *secrets_of(config.params)],
        )  # fmt: skip
        backend = KubeNodes(
            self.credentials,
            config.namespace,
            lambda: self.objects,
            self.names.run,
            self.names.sync,
            keep=config.keep_jobs,
        )
        return ClusterExecution(
            settings,
            view,
            lambda *_: backend,
            self.values.terms(),
            keep_logs=True,
            keeper=backend,
            prepare=lambda: self.prepare(progress),
        )
