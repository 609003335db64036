"""wasp_ray itself as a wheel, so that exactly what runs here runs in the image, with no registry that would have to know it.

Built from the checkout when this is one, else put together again from the files of the installed distribution.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import shutil
import sys
import tomllib
import zipfile
from collections.abc import Callable
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path, PurePosixPath

import wasp_ray
from wasp_ray.cluster.image_builders import stream
from wasp_ray.errors import BadInput, NodeFailed

NAME = "wasp-ray"
LEFT_OUT = ("INSTALLER", "RECORD", "REQUESTED", "direct_url.json", "uv_cache.json", "uv_build.json")
"""Files of a dist-info folder that an installer has written."""
EARLIEST = (1980, 1, 1, 0, 0, 0)
"""The date of everything in a wheel, so that equal files make equal wheels and builds find them in their cache."""


def checkout() -> Path | None:
    """The folder of wasp_ray's checkout when this process runs from one."""
    folder = Path(wasp_ray.__file__).resolve().parent.parent
    try:
        project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8")).get("project", {})
    except (OSError, tomllib.TOMLDecodeError):
        return None
    return folder if project.get("name") == NAME else None


def wasp_wheel(folder: Path, progress: Callable[[str], None]) -> Path:
    """Writes the wheel of this wasp_ray into `folder`.

    Raises BadInput when the installation is not whole, NodeFailed when the checkout cannot be built.
    """
    source = checkout()
    if source is not None:
        return _built(source, folder, progress)
    try:
        return repacked(distribution(NAME), folder)
    except PackageNotFoundError as exc:
        raise BadInput(
            f"expected {NAME} to be installed, found its modules in {Path(wasp_ray.__file__).parent} only: install it with pip"
        ) from exc


def _built(source: Path, folder: Path, progress: Callable[[str], None]) -> Path:
    """By hatchling when it is there, since that asks no index; else pip gets it."""
    if find_spec("hatchling") is not None:
        command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    elif find_spec("pip") is not None:
        command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", str(folder), str(source)]
    else:
        raise BadInput(f"expected hatchling or pip in {sys.executable} to build wasp_ray from {source}, found neither")
    code, last = stream(command, progress, cwd=source)
    wheels = list(folder.glob("wasp_ray-*.whl"))
    if code or len(wheels) != 1:
        lines = "\n".join(last)
        raise NodeFailed(f"wasp_ray could not be built from {source} (exit code {code}):\n{lines}")
    return wheels[0]


def repacked(dist: Distribution, folder: Path) -> Path:
    """The wheel that this distribution was installed from: the files that its RECORD names, and their hashes anew.

    Raises BadInput when there is no RECORD or one of the files is gone.
    """
    files = _files(dist)
    info = next((name.partition("/")[0] for name in files if name.endswith(".dist-info/WHEEL")), None)
    if info is None:
        raise BadInput(
            f"expected {NAME} {dist.version} to be installed from a wheel, found no WHEEL and RECORD file of one: install "
            "it again with pip, or uv"
        )
    tags = [
        line.split(":", 1)[1].strip()
        for line in files[f"{info}/WHEEL"].decode().splitlines()
        if line.startswith("Tag:")
    ]
    path = folder / f"{info.removesuffix('.dist-info')}-{tags[0]}.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wheel:
        for name in sorted(files, key=lambda name: (name.startswith(info), name)):
            _add(wheel, name, files[name])
        _add(wheel, f"{info}/RECORD", _record(files, info))
    return path


def _files(dist: Distribution) -> dict[str, bytes]:
    """By their name in the wheel. Scripts outside of it are made by installers, and so is what is compiled."""
    out: dict[str, bytes] = {}
    # not dist.files, which leaves out what is gone from Python 3.12 on
    for name in (row[0] for row in csv.reader((dist.read_text("RECORD") or "").splitlines()) if row):
        file = PurePosixPath(name)
        is_made = ".dist-info/" in name and file.name in LEFT_OUT
        if name.startswith("../") or file.suffix == ".pyc" or is_made or file.is_absolute():
            continue
        try:
            out[name] = Path(str(dist.locate_file(name))).read_bytes()
        except OSError as exc:
            raise BadInput(
                f"expected the installed {NAME} {dist.version} to be whole, found no {name} ({exc.strerror or exc}): "
                f"install it again, as `pip install --force-reinstall {NAME}=={dist.version}`"
            ) from exc
    return out


def _record(files: dict[str, bytes], info: str) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for name, content in sorted(files.items()):
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        writer.writerow((name, f"sha256={digest}", len(content)))
    writer.writerow((f"{info}/RECORD", "", ""))
    return text.getvalue().encode()


def _add(wheel: zipfile.ZipFile, name: str, content: bytes) -> None:
    info = zipfile.ZipInfo(name, EARLIEST)
    info.external_attr = 0o100644 << 16
    info.compress_type = zipfile.ZIP_DEFLATED
    wheel.writestr(info, content)


def copy_dockerfile(target: Path) -> None:
    """Writes Dockerfile.test, which is part of the package and lies at the top of a checkout."""
    places = [Path(__file__).parent, *([source] if (source := checkout()) else [])]
    for place in places:
        if (place / "Dockerfile.test").is_file():
            shutil.copyfile(place / "Dockerfile.test", target)
            return
    raise BadInput(f"expected Dockerfile.test in {places[0]}, found none: this wasp_ray is not whole, install it again")
