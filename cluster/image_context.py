"""The context of an image build: a copy of the user's folder without what no image should hold.

Owns what is left out. Never leaves the folder: a link that points out of it is not followed and not copied.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from wasp_ray.errors import BadInput

OWN = ".wasp-image"
"""What the build itself needs lies in this folder of the context; Dockerfile.test knows the name."""
JUNK = (
    ".DS_Store", ".coverage", ".git", ".hg", ".hypothesis", ".idea", ".import_linter_cache", ".ipynb_checkpoints",
    ".mypy_cache", ".nox", ".pytest_cache", ".ruff_cache", ".svn", ".tox", ".venv*", ".vscode", "*.egg-info", "*.pyc", "*.pyo",
    "__pycache__", "node_modules", "wasp-runs", OWN,
)  # fmt: skip
SECRETS = (".aws", ".docker", ".env", ".env.*", ".kube", ".netrc", ".pypirc", ".ssh", "kubeconfig")
"""Left out and told of: an image is readable for all who may pull it; secrets reach pods by a Secret."""
IGNORE_FILES = (".dockerignore", ".containerignore")


@dataclass(slots=True)
class Context:
    """A context that was made. `left_out`: a sentence for each thing that a user may miss; paths as in the folder."""

    folder: Path
    files: int = 0
    size_bytes: int = 0
    left_out: list[str] = field(default_factory=list)


def make_context(source: Path, target: Path) -> Context:
    """Copies `source` into the empty folder `target`; hard links where that works, since nothing is changed.

    A `.dockerignore` of the folder comes along and holds for the build, but for what the build itself needs. Raises
    BadInput for files that cannot be read.
    """
    source, target = source.resolve(), target.resolve()
    made = Context(target)
    unreadable: list[str] = []
    for entry in _walk(source, target, made, unreadable):
        path = Path(entry.path)
        copy = target / path.relative_to(source)
        try:
            if entry.is_symlink():
                copy.symlink_to(_relative_target(path))
            elif entry.is_dir(follow_symlinks=False):
                copy.mkdir()
            else:
                _copy(path, copy)
                made.size_bytes += entry.stat(follow_symlinks=False).st_size
                made.files += 1
        except PermissionError:
            unreadable.append(_shown(source, path))
    if unreadable:
        names = ", ".join(unreadable[:10])
        raise BadInput(
            f"{source}: expected files that can be read, found {len(unreadable)} that cannot: {names}: change their mode, "
            "or move them out of the folder"
        )
    for name in IGNORE_FILES:
        if (target / name).is_file():
            _keep_own(target / name)
    return made


def _walk(source: Path, target: Path, made: Context, unreadable: list[str]) -> Iterator[os.DirEntry[str]]:
    """What is to be copied, folders before what is in them."""
    folders = [source]
    while folders:
        folder = folders.pop()
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except PermissionError:
            unreadable.append(_shown(source, folder))
            continue
        for entry in entries:
            why = _why_not(entry, source)
            if why is None and Path(entry.path) != target:
                yield entry
                if entry.is_dir(follow_symlinks=False):
                    folders.append(Path(entry.path))
            elif why:
                made.left_out.append(f"{_shown(source, Path(entry.path))} {why}")


def _why_not(entry: os.DirEntry[str], source: Path) -> str | None:
    """None: it is to be copied. A text: it is left out, which is told if there is a reason in it."""
    if _matches(entry.name, JUNK):
        return ""
    if _matches(entry.name, SECRETS):
        return "looks like a secret: give it to the run as a Secret, or rename it"
    if entry.is_symlink():
        try:
            end = Path(entry.path).resolve(strict=True)
        except (OSError, RuntimeError):
            return "is a link to nothing"
        return None if end.is_relative_to(source) else "is a link out of the folder: copy what it points to"
    if entry.is_dir(follow_symlinks=False):
        return "" if os.path.exists(os.path.join(entry.path, "pyvenv.cfg")) else None
    return None if entry.is_file(follow_symlinks=False) else "is neither a file nor a folder"


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _relative_target(link: Path) -> str:
    """Where the copy of a link points to: the same place of the copy."""
    text = os.readlink(link)
    if not os.path.isabs(text):
        return text
    return os.path.relpath(link.resolve(), link.parent.resolve())


def _copy(path: Path, copy: Path) -> None:
    readable = os.access(path, os.R_OK)
    if not readable:
        raise PermissionError(str(path))
    try:
        os.link(path, copy, follow_symlinks=False)
    except OSError:  # another file system, or another user's file
        shutil.copy2(path, copy, follow_symlinks=False)


def _keep_own(ignore: Path) -> None:
    """The user's rules and one more; as a new file, since the copy may be a hard link."""
    text = ignore.read_text(encoding="utf-8", errors="surrogateescape")
    mode = stat.S_IMODE(ignore.stat().st_mode)
    ignore.unlink()
    ignore.write_text(f"{text.rstrip()}\n!{OWN}\n!{OWN}/**\n", encoding="utf-8", errors="surrogateescape")
    ignore.chmod(mode)


def _shown(source: Path, path: Path) -> str:
    return path.relative_to(source).as_posix()


def in_words(size_bytes: int) -> str:
    """A size for people: "34.1 kB"."""
    size = float(size_bytes)
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"
