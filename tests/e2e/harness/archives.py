"""Image archives written without a container engine, in the form of `docker save`; docker and containerd both read them.

Owns the pause image and the base image `python:3.11-slim-bookworm`, which stands in for the one of that name: Debian's
Python of the same version, with pip, and with this machine's certificate bundle so that `pip install` works in a build
behind an intercepting proxy.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import ssl
import subprocess
import tarfile
from collections.abc import Mapping
from pathlib import Path

from .errors import HarnessError
from .leftovers import remove_tree
from .node import PAUSE_IMAGE
from .places import beside, cache_folder, locked
from .progress import run_logged, step

BASE_IMAGE = "python:3.11-slim-bookworm"
BASE_RECIPE = 1  # counts changes of how the base is made
BUNDLE = "etc/ssl/certs/ca-certificates.crt"
PAUSE_SOURCE = """package main

import (
	"os"
	"os/signal"
	"syscall"
)

func main() {
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGTERM, syscall.SIGINT)
	<-end
}
"""
DROPPED = ("./dev/*", "./proc/*", "./sys/*", "./tmp/*", "./var/cache/*", "./var/lib/apt/lists/*", "./var/log/*")


def pause_archive() -> Path:
    """An image that does nothing until it is told to end: the sandbox of each pod."""
    archive = cache_folder() / "images" / "pause-1.tar"
    if not archive.exists():
        with locked(beside(archive), 300, doing="make the pause image"), step("make the pause image"):
            folder = archive.with_name(".pause")
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            (folder / "main.go").write_text(PAUSE_SOURCE)
            environment = {**os.environ, "CGO_ENABLED": "0", "GO111MODULE": "off"}
            log = cache_folder() / "logs" / "build-pause.log"
            command = ["go", "build", "-trimpath", "-ldflags", "-s -w", "-o", "pause", "main.go"]
            run_logged(command, log, 300, cwd=folder, env=environment)
            with tarfile.open(folder / "layer.tar", "w") as layer:
                layer.add(folder / "pause", "pause", filter=_plain)
            _write_archive(
                archive, folder / "layer.tar", PAUSE_IMAGE, {"Entrypoint": ["/pause"], "User": "65535:65535"}
            )
            shutil.rmtree(folder)
    return archive


def base_archive() -> Path:
    """The base image: 40 s and 60 MB of packages at first, then from the cache until this machine's bundle changes."""
    bundle = _host_bundle()
    key = hashlib.sha256(bundle.read_bytes() + bytes([BASE_RECIPE])).hexdigest()[:12]
    archive = cache_folder() / "images" / f"base-{key}.tar"
    if not archive.exists():
        what = f"make the image {BASE_IMAGE}"
        with locked(archive.with_name("base.lock"), 1800, doing=what) as lock:
            if not archive.exists():
                with step(what):
                    _make_base(archive, bundle, lock)
    return archive


def _make_base(archive: Path, bundle: Path, lock: int) -> None:
    root = archive.with_name(".base-root")
    remove_tree(root)  # an interrupted debootstrap leaves mounts
    log = cache_folder() / "logs" / "debootstrap.log"
    packages = "--include=python3,python3-venv,python3-pip,ca-certificates"
    command = ["nice", "-n", "19", "debootstrap", "--variant=minbase", packages, "bookworm", str(root)]
    run_logged(command, log, 1500, keep_open=lock)
    shutil.copyfile(bundle, root / BUNDLE)
    for name, target in (("python", "/usr/bin/python3"), ("python3", "/usr/bin/python3"), ("pip", "/usr/bin/pip3")):
        (root / "usr/local/bin" / name).symlink_to(target)
    for marker in (root / "usr/lib").glob("python3*/EXTERNALLY-MANAGED"):
        marker.unlink()  # the image of that name lets pip install
    for name in ("doc", "info", "locale", "man"):
        shutil.rmtree(root / "usr/share" / name, ignore_errors=True)
    layer = archive.with_name(".base-layer.tar")
    exclude = [f"--exclude={pattern}" for pattern in DROPPED]
    run_logged(["tar", "-C", str(root), *exclude, "--sort=name", "-cf", str(layer), "."], log, 300)
    environment = {
        "PATH": "/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin",
        "LANG": "C.UTF-8",
        "PIP_CERT": f"/{BUNDLE}",
        "SSL_CERT_FILE": f"/{BUNDLE}",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }
    config = {"Cmd": ["python3"], "Env": [f"{name}={value}" for name, value in environment.items()]}
    _write_archive(archive, layer, BASE_IMAGE, config)
    layer.unlink()
    remove_tree(root)


def _host_bundle() -> Path:
    for path in (os.environ.get("SSL_CERT_FILE"), f"/{BUNDLE}", ssl.get_default_verify_paths().cafile):
        if path and Path(path).is_file():
            return Path(path)
    raise HarnessError(
        "expected this machine's certificate bundle, found none: install ca-certificates or set SSL_CERT_FILE"
    )


def _write_archive(archive: Path, layer: Path, tag: str, config: Mapping[str, object]) -> None:
    """Writes an archive with one image of one layer; its name appears when it is whole."""
    digest = _sha256(layer)
    image = {
        "architecture": os.uname().machine.replace("x86_64", "amd64").replace("aarch64", "arm64"),
        "os": "linux",
        "created": "2024-01-01T00:00:00Z",
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
        "history": [{"created": "2024-01-01T00:00:00Z", "created_by": "wasp_ray e2e harness"}],
    }
    text = json.dumps(image).encode()
    name = f"{hashlib.sha256(text).hexdigest()}.json"
    manifest = json.dumps([{"Config": name, "RepoTags": [tag], "Layers": [f"{digest}/layer.tar"]}]).encode()
    unfinished = archive.with_name(f".{archive.name}-{os.getpid()}")
    with tarfile.open(unfinished, "w") as out:
        out.add(layer, f"{digest}/layer.tar", filter=_plain)
        for entry, content in ((name, text), ("manifest.json", manifest)):
            info = tarfile.TarInfo(entry)
            info.size = len(content)
            out.addfile(info, io.BytesIO(content))
    unfinished.replace(archive)


def _plain(info: tarfile.TarInfo) -> tarfile.TarInfo:
    info.uid = info.gid = 0
    info.uname = info.gname = ""
    info.mtime = 0
    return info


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def image_id(archive: Path) -> str:
    """The id of an archive's image: it says whether an engine already has it."""
    out = subprocess.check_output(["tar", "-xOf", str(archive), "manifest.json"], timeout=60)
    return f"sha256:{json.loads(out)[0]['Config'].removesuffix('.json')}"
