"""Who one is to a Kubernetes cluster: the official client's loading of kubeconfig files, exec plugins and pods' own tokens.

The only importer of `kubernetes`; none of its exceptions leaves this module.
"""

from __future__ import annotations

import os
import ssl
from typing import Any

import yaml
from kubernetes import config as kubernetes_config
from kubernetes.client import Configuration

from wasp_ray.errors import BadInput

_NAMESPACE_FILE = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"


class Credentials:
    """An address and how to prove oneself there. `reload` reads everything anew: tokens and certificates expire."""

    def __init__(self, context: str | None = None, kubeconfig: str | None = None) -> None:
        """Raises BadInput when there is nothing to connect with."""
        self._context, self._kubeconfig = context, kubeconfig
        self.in_cluster = kubeconfig is None and context is None and _in_pod() and not _has_kubeconfig()
        self._conf = Configuration()
        self.reload()

    def copy(self) -> Credentials:
        """The same for another thread."""
        return Credentials(self._context, self._kubeconfig)

    def reload(self) -> None:
        """Reads files and asks plugins again. Raises BadInput."""
        conf = Configuration()
        try:
            if self.in_cluster:
                kubernetes_config.load_incluster_config(conf)  # type: ignore[no-untyped-call]
            else:
                load: Any = kubernetes_config.load_kube_config
                load(self._kubeconfig, self._context, conf, persist_config=False)
        except (kubernetes_config.ConfigException, OSError, ValueError, KeyError, TypeError, yaml.YAMLError) as exc:
            where = self._kubeconfig or os.environ.get("KUBECONFIG") or "~/.kube/config"
            raise BadInput(
                f"no way to a Kubernetes cluster: {_first_line(exc)} (looked at {where}"
                f"{f', context {self._context}' if self._context else ''}); give --kubeconfig FILE or --context NAME"
            ) from exc
        self._conf = conf

    @property
    def server(self) -> str:
        """The address of the API server."""
        return str(self._conf.host).rstrip("/")

    @property
    def name(self) -> str:
        """What a person calls this cluster: the context, or the address."""
        if self.in_cluster:
            return "in-cluster"
        if self._context is not None:
            return self._context
        try:
            return str(self._contexts()[1]["name"])
        except (kubernetes_config.ConfigException, OSError, KeyError, TypeError):
            return self.server

    @property
    def default_namespace(self) -> str | None:
        """The context's or the pod's own namespace."""
        try:
            if self.in_cluster:
                with open(_NAMESPACE_FILE) as file:
                    return file.read().strip() or None
            contexts, active = self._contexts()
            chosen: Any = next((c for c in contexts if c["name"] == self._context), active)
            found = chosen["context"].get("namespace")
            return None if found is None else str(found)
        except (kubernetes_config.ConfigException, OSError, KeyError, TypeError):
            return None

    def _contexts(self) -> tuple[list[Any], Any]:
        """All contexts and the active one."""
        found: Any = kubernetes_config.list_kube_config_contexts(self._kubeconfig)  # type: ignore[no-untyped-call]
        contexts, active = found
        return contexts, active

    def headers(self) -> dict[str, str]:
        """The header of a request now; tokens that expire are refreshed on the way."""
        found = {}
        settings: dict[str, Any] = dict(self._conf.auth_settings())
        for setting in settings.values():
            if setting["in"] == "header" and setting["value"]:
                found[str(setting["key"]).title()] = str(setting["value"])
        return found

    @property
    def verify(self) -> str | bool:
        """The file of the cluster's CA, or whether certificates are verified."""
        if not self._conf.verify_ssl:
            return False
        return str(self._conf.ssl_ca_cert) if self._conf.ssl_ca_cert else True

    @property
    def client_certificate(self) -> tuple[str, str] | None:
        """Files of certificate and key."""
        if self._conf.cert_file and self._conf.key_file:
            return str(self._conf.cert_file), str(self._conf.key_file)
        return None

    @property
    def server_name(self) -> str | None:
        """The name in the server's certificate where it is not that of its address."""
        return self._conf.tls_server_name

    @property
    def proxy(self) -> str | None:
        """An HTTP proxy on the way to the API server."""
        return self._conf.proxy

    def ssl_context(self) -> ssl.SSLContext:
        """The same for asyncio."""
        verify = self.verify
        context = ssl.create_default_context(cafile=verify if isinstance(verify, str) else None)
        if verify is False:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if self.client_certificate is not None:
            context.load_cert_chain(*self.client_certificate)
        return context


def _in_pod() -> bool:
    return bool(os.environ.get("KUBERNETES_SERVICE_HOST")) and os.path.exists(_NAMESPACE_FILE)


def _has_kubeconfig() -> bool:
    named = os.environ.get("KUBECONFIG")
    return bool(named) or os.path.exists(os.path.expanduser("~/.kube/config"))


def _first_line(exc: Exception) -> str:
    lines: list[Any] = str(exc).splitlines()
    return str(lines[0]) if lines else type(exc).__name__
