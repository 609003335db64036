"""The folder of a run: whole files or none, whole lines or none. It must never raise into a run once it is made."""

from __future__ import annotations

import errno
import json
import math
import os
import re
import shutil
from contextlib import suppress
from pathlib import Path

from wasp_ray.errors import BadInput
from wasp_ray.report.text import clean

HOME = "wasp-runs"
USER_LOG = "logs/users.log"
LINE_LIMIT = 4096
"""Characters of one line of user output that are kept."""
USER_LOG_LIMIT = 64 * 1024 * 1024


class BundleWriter:
    """The folder of one run. Trouble with the disk is kept in `problems`; the run continues and says so at its end."""

    def __init__(self, path: Path, made: bool = True) -> None:
        """`made`: the folder was not there before."""
        self.path, self._made = path, made
        self._link: tuple[Path, str] | None = None
        self._open: dict[str, int] = {}
        self._failed: dict[str, tuple[str, int]] = {}

    @classmethod
    def create(cls, out: Path | None, profile_name: str | None, started: str) -> BundleWriter:
        """Makes the folder: `out` itself, or wasp-runs/STARTED-NAME below the working directory when it is None.

        `started` is `clock.stamp()`. Raises BadInput when `out` holds something already or cannot be written.
        """
        try:
            bundle = cls(out, _take(out)) if out is not None else cls(_new_folder(Path(HOME), profile_name, started))
            _try_writing(bundle.path)
        except OSError as problem:
            where = out if out is not None else Path(HOME)
            raise BadInput(
                f"--out: {where} cannot be written ({problem.strerror or problem}); name one that can, as --out DIR"
            ) from problem
        if out is None:
            bundle._dress_home(Path(HOME))
        return bundle

    @property
    def problems(self) -> list[str]:
        """One sentence per file that could not be written whole."""
        return [
            f"{name}: {why}" + (f" ({number:,} times)" if number > 1 else "")
            for name, (why, number) in self._failed.items()
        ]

    def write_json(self, name: str, obj: object) -> bool:
        """Writes or replaces a file in one step; False when that failed. NaN and infinities become null."""
        try:
            write_json_file(self.path / name, obj)
        except (OSError, ValueError, TypeError, RecursionError) as problem:
            self.note_problem(name, problem)
            return False
        return True

    def append_line(self, name: str, line: str) -> bool:
        """Adds one line; on a full disk it is left out whole and counted. Line ends inside become blanks."""
        data = (line.replace("\r", " ").replace("\n", " ") + "\n").encode("utf-8", "backslashreplace")
        try:
            if name not in self._open:
                target = self.path / name
                target.parent.mkdir(parents=True, exist_ok=True)
                self._open[name] = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
            _append(self._open[name], data)
        except OSError as problem:
            self.note_problem(name, problem)
            return False
        return True

    def user_log(self, limit_bytes: int = USER_LOG_LIMIT) -> UserLog:
        """What users print goes here."""
        return UserLog(self, limit_bytes)

    def close(self) -> None:
        """Closes the files that grow; may be called again."""
        while self._open:
            name, fd = self._open.popitem()
            try:
                os.close(fd)
            except OSError as problem:
                self.note_problem(name, problem)

    def take_back(self) -> None:
        """Leaves things as they were: a folder that was there is as empty as it was, `latest` leads to the run before."""
        self.close()
        with suppress(OSError):
            for file in self.path.iterdir():
                if file.is_dir():
                    shutil.rmtree(file)
                else:
                    file.unlink()
            if self._made:
                self.path.rmdir()
        if self._link is not None:
            link, before = self._link
            with suppress(OSError):
                link.unlink()
                if before:
                    link.symlink_to(before)

    def note_problem(self, name: str, problem: Exception) -> None:
        """Keep why a file could not be written whole."""
        why = (problem.strerror if isinstance(problem, OSError) else None) or f"{type(problem).__name__}: {problem}"
        first, number = self._failed.get(name, (why, 0))
        self._failed[name] = first, number + 1

    def _dress_home(self, home: Path) -> None:
        """.gitignore and the link `latest`; a thing of that name that is no link is left alone."""
        try:
            if not (home / ".gitignore").exists():
                (home / ".gitignore").write_text("*\n")
            link, fresh = home / "latest", home / f".latest-{os.getpid()}"
            if link.exists() and not link.is_symlink():
                raise OSError("it exists and is not a symbolic link; move it away")
            before = os.readlink(link) if link.is_symlink() else ""
            fresh.unlink(missing_ok=True)
            fresh.symlink_to(self.path.name)
            fresh.replace(link)
            self._link = link, before
        except OSError as problem:
            self.note_problem(f"{HOME}/latest", problem)


class UserLog:
    """logs/users.log: lines of at most 4,096 characters after their prefix, and at most `limit_bytes` in all."""

    def __init__(self, bundle: BundleWriter, limit_bytes: int) -> None:
        self.left_out = 0
        self._bundle = bundle
        self._room = limit_bytes

    def write(self, prefix: str, line: str) -> None:
        """One line of the user or generator named by `prefix`; control characters are written as `\\x1b`."""
        text = f"{clean(prefix, 256)}: {clean(line, LINE_LIMIT)}"
        size = len(text.encode("utf-8", "backslashreplace")) + 1
        if size > self._room:
            self._room = 0
            self.left_out += 1
        elif self._bundle.append_line(USER_LOG, text):
            self._room -= size
        else:
            self.left_out += 1

    def close(self) -> None:
        """Says at the end of the file how many lines did not get in."""
        if self.left_out:
            self._bundle.append_line(USER_LOG, f"… {self.left_out:,} more lines were left out")


def shown_path(path: Path | None, out: Path | None) -> str | None:
    """How the end of a run names its bundle: `wasp-runs/latest` for the default place."""
    if path is None:
        return None
    if out is not None:
        return str(out)
    latest = path.parent / "latest"
    here = latest if latest.is_symlink() and latest.resolve() == path.resolve() else path
    return os.path.relpath(here)


def write_json_file(path: Path, obj: object) -> None:
    """Writes JSON as `write_text_file` writes text. NaN and infinities become null. Raises OSError."""
    write_text_file(path, json.dumps(_finite(obj), ensure_ascii=False, indent=1, default=str) + "\n")


def write_text_file(path: Path, text: str) -> None:
    """Writes beside the target and renames it; a pipe or a device is written to directly. Raises OSError."""
    data = text.encode("utf-8", "backslashreplace")
    path.parent.mkdir(parents=True, exist_ok=True)
    if is_stream(path):
        with path.open("wb") as target:
            target.write(data)
        return
    path = path.resolve()
    fresh = _beside(path)
    try:
        fresh.write_bytes(data)
        fresh.replace(path)
    except OSError:
        with suppress(OSError):
            fresh.unlink(missing_ok=True)
        raise


def try_text_file(path: Path) -> None:
    """Raise the OSError that `write_text_file` would meet at `path`. Leaves nothing behind.

    A file that its owner has made read-only is not replaced, though its folder would allow it.
    """
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    is_there = path.exists()
    if is_there and not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    if is_there and is_stream(path):
        return
    fresh = _beside(path.resolve())
    fresh.write_bytes(b"")
    fresh.unlink()


def _beside(path: Path) -> Path:
    """Return the name under which a file is written before it takes its place."""
    return path.with_name(f".{path.name}.{os.getpid()}.tmp")


def is_stream(path: Path) -> bool:
    """Whether what is written there cannot be replaced: a pipe or a device."""
    return str(path).startswith(("/dev/", "/proc/")) or (path.exists() and not path.is_file())


def _finite(obj: object) -> object:
    """JSON has no NaN and no infinity."""
    if isinstance(obj, float):
        return obj if math.isfinite(obj) else None
    if isinstance(obj, dict):
        return {str(key): _finite(value) for key, value in obj.items()}
    if isinstance(obj, (list, tuple)):
        return [_finite(value) for value in obj]
    return obj


def _append(fd: int, data: bytes) -> None:
    start = os.lseek(fd, 0, os.SEEK_END)
    written = 0
    try:
        while written < len(data):
            written += os.write(fd, data[written:])
    except OSError:
        if written:
            with suppress(OSError):
                os.ftruncate(fd, start)
        raise


def _take(out: Path) -> bool:
    """Whether it was made."""
    if out.exists() and not out.is_dir():
        raise BadInput(f"--out: expected a folder, found a file at {out}; name another folder")
    made = not out.exists()
    out.mkdir(parents=True, exist_ok=True)
    if any(out.iterdir()):
        raise BadInput(f"--out: expected an empty or new folder, {out} holds files already; name another or empty it")
    return made


def _new_folder(home: Path, profile_name: str | None, started: str) -> Path:
    safe = re.sub(r"[^A-Za-z0-9._-]+", "-", profile_name or "").strip("-.")[:60] or "run"
    home.mkdir(parents=True, exist_ok=True)
    for number in range(1, 1000):
        path = home / (f"{started}-{safe}" + (f"-{number}" if number > 1 else ""))
        with suppress(FileExistsError):
            path.mkdir()
            return path.absolute()
    raise OSError(f"999 runs of {safe} carry the time {started}")


def _try_writing(path: Path) -> None:
    probe = path / ".probe"
    probe.write_bytes(b"")
    probe.unlink()
