"""`wasp cluster image build`: the image of a test from the folder of the test, with what it requires and this wasp_ray.

Owns the order of things. It builds by Dockerfile.test in a context of its own making, so it needs neither a checkout nor a
registry that knows wasp_ray, and never root.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from wasp_ray._version import __version__
from wasp_ray.cluster.image_builders import Builder, find_builder, stream
from wasp_ray.cluster.image_context import OWN, Context, in_words, make_context
from wasp_ray.cluster.image_packages import Target, gather_wheels, target_of, write_settings
from wasp_ray.cluster.image_wheel import copy_dockerfile, wasp_wheel
from wasp_ray.errors import BadInput, NodeFailed

PYTHON_IMAGE = "python:3.11-slim-bookworm"
EXTRAS = "cluster"
"""Of wasp_ray in the image: a controller may run in it."""
LARGE_BYTES = 500_000_000
LONG_LINE = 300
PROXIES = tuple(
    name for upper in ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY") for name in (upper, upper.lower())
)
# [host[:port]/]path[:tag], by the reference grammar of distribution; no digest, since that is not known before.
_HOST = r"(?:localhost|[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+|[A-Za-z0-9-]+(?=:))(?::\d+)?"
_NAME = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_TAG = re.compile(rf"(?:{_HOST}/)?{_NAME}(?:/{_NAME})*(?::[A-Za-z0-9_][A-Za-z0-9._-]{{0,127}})?")
_CURES = (
    (r"CERTIFICATE_VERIFY_FAILED|certificate verify failed", "set PIP_CERT to your company's certificates, or use --offline"),
    (r"name resolution|Name or service not known|Network is unreachable|Could not connect|ConnectTimeout|NewConnectionError",
     "the build reaches no package index: set PIP_INDEX_URL or HTTPS_PROXY, or use --offline"),
    (r"No matching distribution|ResolutionImpossible", "see above which requirement cannot be met, and change it"),
    (r"pull access denied|manifest unknown|failed to resolve source|manifest for .* not found",
     "the Python image cannot be pulled: pull it from where you may, tag it with this name, and build again"),
    (r"denied|unauthorized|authentication required|no basic auth",
     "log in to the registry with `docker login HOST` (podman: `podman login`)"),
    (r"no space left on device", "free space, as `docker system prune` does"),
)  # fmt: skip


def build_image(
    build_root: Path,
    tag: str,
    *,
    push: bool = False,
    offline: bool = False,
    platform: str | None = None,
    context: Path | None = None,
    progress: Callable[[str], None],
    python_image: str = PYTHON_IMAGE,
    network: str | None = None,
) -> None:
    """Builds the image `tag`, whose working directory is `build_root`, and pushes it if asked.

    `context`: a folder around `build_root` that the build may see (None: `build_root` alone). `offline`: wheels are gathered
    here by pip and the build has no network. `platform`: "linux/arm64"; None is the builder's own. `network`: of the build,
    "host" where containers have none. `progress` gets each line that the builder prints, without its end.

    Raises BadInput when nothing was built: all problems at once; NodeFailed when pip or the builder failed, with its last
    lines and the cure where one is known.
    """
    root, around = _checked(build_root, tag, context)
    builder = find_builder(platform)
    if builder.push is None and platform is not None and "," in platform and not push:
        raise BadInput(f"--platform {platform}: several platforms can only be built together with --push")
    target = target_of(python_image, platform or builder.platform) if offline else None
    with tempfile.TemporaryDirectory(prefix="wasp-image-") as name:
        made = make_context(around, Path(name))
        arguments = {"BUILD_ROOT": root.relative_to(around).as_posix(), "PYTHON_IMAGE": python_image}
        arguments |= _add_own(made.folder / OWN, root, target, progress)
        _tell(made, progress)
        command = _command(builder, tag, arguments, push=push, offline=offline, platform=platform, network=network)
        command += ["--file", str(made.folder / OWN / "Dockerfile"), str(made.folder)]
        _run(command, f"{builder.name} could not build {tag}", progress)
    if push and builder.push is not None:
        _run([*builder.push, tag], f"{builder.name} could not push {tag}", progress)


def _add_own(own: Path, root: Path, target: Target | None, progress: Callable[[str], None]) -> dict[str, str]:
    """Puts what the build itself needs into its folder of the context; gives the build arguments that say so."""
    own.mkdir()
    copy_dockerfile(own / "Dockerfile")
    wheel = wasp_wheel(own, progress)
    arguments = {"WASP_VERSION": __version__, "WASP_EXTRAS": EXTRAS}
    if target is None:
        return arguments | write_settings(own)
    wheelhouse = own / "wheelhouse"
    wheelhouse.mkdir()
    gather_wheels(root, wheelhouse, wheel, f"[{EXTRAS}]", target, progress)
    return arguments | {"WHEELHOUSE": f"{OWN}/wheelhouse"}


def _tell(made: Context, progress: Callable[[str], None]) -> None:
    """What the context holds and what it does not."""
    for text in made.left_out:
        progress(f"left out: {text}")
    progress(f"context: {made.files} files, {in_words(made.size_bytes)}")
    if made.size_bytes > LARGE_BYTES:
        progress("that is a lot: name what the test does not need in a .dockerignore at the top of the context")


def _checked(build_root: Path, tag: str, context: Path | None) -> tuple[Path, Path]:
    """The two folders, resolved."""
    problems = []
    root, around = build_root.resolve(), (context or build_root).resolve()
    if not root.is_dir():
        problems.append(f"--build-root {build_root}: expected the folder of the test, found {_kind(root)}")
    elif not root.is_relative_to(around):
        problems.append(
            f"--build-root {build_root}: expected a folder inside the context {context}, found one outside of it"
        )
    if not _TAG.fullmatch(tag):
        problems.append(
            f"--tag {tag}: expected an image's name in lower case, as registry.example/team/test:1, with no digest"
        )
    if problems:
        raise BadInput(problems)
    return root, around


def _kind(path: Path) -> str:
    return "a file" if path.exists() else "nothing there"


def _command(
    builder: Builder,
    tag: str,
    arguments: dict[str, str],
    *,
    push: bool,
    offline: bool,
    platform: str | None,
    network: str | None,
) -> list[str]:
    """Of the build, up to its context. Proxies are named only: the builder takes their values from the environment."""
    command = [*builder.build, "--tag", tag]
    for name, value in arguments.items():
        command += ["--build-arg", f"{name}={value}"]
    if not offline:
        command += [word for name in PROXIES if os.environ.get(name) for word in ("--build-arg", name)]
    if platform is not None:
        command += ["--platform", platform]
    # Podman in a container is often told to isolate by chroot, and then knows no other network than the host's.
    is_chroot = builder.name == "podman" and os.environ.get("BUILDAH_ISOLATION") == "chroot"
    if offline and not is_chroot:
        command += ["--network", "none"]
    elif network is not None:
        command += ["--network", network]
    if builder.push is None:
        command.append("--push" if push else "--load")
    return command


def _run(command: Sequence[str], failure: str, progress: Callable[[str], None]) -> None:
    """BuildKit is told to print lines instead of drawing; other builders do not know the variable."""
    code, last = stream(command, progress, env={**os.environ, "BUILDKIT_PROGRESS": "plain"})
    if code:
        text = "\n".join(_shortened(line) for line in last)
        cure = next((f"\nCure: {cure}" for pattern, cure in _CURES if re.search(pattern, text, re.IGNORECASE)), "")
        raise NodeFailed(f"{failure}: it ended with exit code {code}; its last lines:\n{text}{cure}")


def _shortened(line: str) -> str:
    """Builders repeat whole RUN instructions, with the cause behind them."""
    return line if len(line) <= LONG_LINE else f"{line[: LONG_LINE // 3]} ... {line[-LONG_LINE * 2 // 3 :]}"
