"""Finds a Profile: in a file by path and name, or in the bytes another process of this run sent.

Owns the trimming of tracebacks.
"""

from __future__ import annotations

import base64
import importlib
import importlib.util
import inspect
import io
import pickle
import sys
import traceback
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wasp_ray.errors import LoadFileError

ENGINE_DIR = str(Path(__file__).resolve().parents[1])
MAIN_ALIAS = "__wasp_main__"
_CONVERT = [int, float, str]
MAX_FRAMES = 30
_TRUE, _FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off")


def find_profile(message: Mapping[str, Any]) -> Any:
    """Import the load file that a load message names, or take up what was pickled. Raises LoadFileError."""
    if message.get("pickle"):
        return loads_profile(base64.b64decode(message["pickle"]))
    return load_file(message["file"], message.get("params") or {})


def load_file(spec: str, params: dict[str, str]) -> Any:
    """The Profile of `path[:NAME]`; a function is called with the params, converted by its annotations.

    Raises LoadFileError; the message of a file that raises ends with the traceback of the user's own frames.
    """
    path, name = split_spec(spec)
    found = _object(_import(path, path.stem), path, name, params)
    if not getattr(found, "__wasp_profile__", False) or isinstance(found, type):
        raise LoadFileError(
            f"`{name}` in {path} is a {type(found).__name__}: expected a Profile or a function that returns one"
        )
    return found


def load_dashboard(spec: str, params: dict[str, str]) -> Any:
    """The Dashboard or Profile of `path[:NAME]`; without a name `dashboard` where the file has one, else `profile`.

    Raises LoadFileError as `load_file` does.
    """
    path, name = split_spec(spec)
    module = _import(path, path.stem)
    if hasattr(module, "dashboard") and not spec.endswith(":profile") and name == "profile":
        name = "dashboard"
    found = _object(module, path, name, params)
    marks = ("__wasp_dashboard__", "__wasp_profile__")
    if isinstance(found, type) or not any(getattr(found, mark, False) for mark in marks):
        raise LoadFileError(f"`{name}` in {path} is a {type(found).__name__}: expected a Dashboard or a Profile")
    return found


def _object(module: types.ModuleType, path: Path, name: str, params: dict[str, str]) -> Any:
    """What the module has under the name; a function is called."""
    found = getattr(module, name, None)
    if found is None:
        names = [
            n for n, v in vars(module).items() if getattr(v, "__wasp_profile__", False) and not isinstance(v, type)
        ]
        cure = (
            f"it has {', '.join(names)}: name one, as {path}:{names[0]}"
            if names
            else "make one: profile = Profile(...)"
        )
        raise LoadFileError(f"{path} has no `{name}`; {cure}")
    if inspect.isfunction(found):
        return _call(found, params, path)
    if params:
        raise LoadFileError(
            f"-p {next(iter(params))}: `{name}` in {path} is not a function: make it one to take parameters"
        )
    return found


def split_spec(spec: str) -> tuple[Path, str]:
    """`load.py:nightly` -> (path, name); the name is `profile` when none is given."""
    head, found, name = spec.rpartition(":")
    if found and name.isidentifier() and not Path(spec).exists():
        return Path(head), name
    return Path(spec), "profile"


def _import(path: Path, name: str) -> types.ModuleType:
    """Imports a file with its folder first on sys.path, registered under `name`."""
    if path.is_dir():
        raise LoadFileError(f"{path} is a folder: name the Python file in it")
    if not path.is_file():
        raise LoadFileError(f"{path}: no such file; `wasp init` writes a first one")
    folder = str(path.resolve().parent)
    sys.path[:] = [folder, *(entry for entry in sys.path if entry != folder)]
    if name != MAIN_ALIAS and (name in sys.modules or name in sys.stdlib_module_names):
        name = f"load_file_{name}"  # a load file called json.py must not take the place of json
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise LoadFileError(f"{path}: expected a Python file, ending in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as exc:
        sys.modules.pop(name, None)
        problems = getattr(exc, "problems", None)
        found = "\n".join(problems) if problems else f"{type(exc).__name__}: {exc}"
        raise LoadFileError(f"{path} raised when it was imported: {found}\n{trim_traceback(exc, folder)}") from exc
    return module


def _call(function: Any, params: dict[str, str], path: Path) -> Any:
    known = inspect.signature(function).parameters
    takes_any = any(p.kind is p.VAR_KEYWORD for p in known.values())
    hints = _hints(function)
    arguments: dict[str, Any] = {}
    for name, text in params.items():
        if name not in known and takes_any:
            arguments[name] = text
            continue
        if name not in known:
            raise LoadFileError(
                f"-p {name}: `{function.__name__}` in {path} has no such parameter (it has {', '.join(known) or 'none'})"
            )
        arguments[name] = _converted(name, text, known[name], hints.get(name))
    missing = [
        n
        for n, p in known.items()
        if p.default is p.empty and n not in arguments and p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)
    ]
    if missing:
        raise LoadFileError(
            f"`{function.__name__}` in {path} needs {', '.join(missing)}: give it as -p {missing[0]}=VALUE"
        )
    try:
        return function(**arguments)
    except (Exception, SystemExit) as exc:
        folder = str(path.resolve().parent)
        raise LoadFileError(
            f"`{function.__name__}` in {path} raised: {type(exc).__name__}: {exc}\n{trim_traceback(exc, folder)}"
        ) from exc


def _hints(function: Any) -> dict[str, Any]:
    try:
        return typing.get_type_hints(function)
    except Exception:  # an annotation that names nothing: the texts stay texts
        return {}


def _converted(name: str, text: str, parameter: inspect.Parameter, wanted: Any) -> Any:
    if wanted is None and parameter.default is not parameter.empty and parameter.default is not None:
        wanted = type(parameter.default)
    for choice in typing.get_args(wanted):  # `int | None` is an int here
        if choice is not type(None):
            wanted = choice
            break
    if wanted is bool:
        if text.lower() in _TRUE + _FALSE:
            return text.lower() in _TRUE
        raise LoadFileError(f"-p {name}={text}: expected true or false")
    convert = wanted if wanted in _CONVERT else str
    try:
        return convert(text)
    except ValueError:
        raise LoadFileError(f"-p {name}={text}: expected {convert.__name__}") from None


# -- profiles that travel between processes of one run


def dumps_profile(profile: Any) -> bytes:
    """A Profile for a fresh process: classes and functions of a script travel as (file, name), those of a notebook by
    value.

    Only ever read by this run's own zygote, which got it through a private socket.
    """
    import cloudpickle

    main = sys.modules.get("__main__")
    main_file, main_spec = getattr(main, "__file__", None), getattr(main, "__spec__", None)
    if main_file is not None and not Path(main_file).is_file():  # "<stdin>": there is no file to import it from
        main_file = None

    class Pickler(cloudpickle.Pickler):  # type: ignore[misc]
        def persistent_id(self, obj: Any) -> Any:
            if main_file is None or not isinstance(obj, (type, types.FunctionType)):
                return None
            if (
                getattr(obj, "__module__", None) != "__main__"
                or "<locals>" in obj.__qualname__
                or "<lambda>" in obj.__qualname__
            ):
                return None
            return (str(Path(main_file).resolve()), obj.__qualname__, main_spec.name if main_spec is not None else "")

    buffer = io.BytesIO()
    try:
        Pickler(buffer).dump(profile)
    except (pickle.PicklingError, TypeError, AttributeError) as exc:
        raise LoadFileError(
            f"the profile cannot be sent to a fresh process ({exc}): keep open files, connections and locks out of params=,"
            " rows= and the classes' own attributes; make them in setup()"
        ) from exc
    return buffer.getvalue()


def loads_profile(raw: bytes) -> Any:
    """The reverse, in the zygote. The script is imported once, as `__wasp_main__`, so its main guard holds."""

    class Unpickler(pickle.Unpickler):
        def persistent_load(self, pid: Any) -> Any:
            file, qualname, name = pid
            found: Any = _main_module(Path(file), name)
            for part in qualname.split("."):
                found = getattr(found, part, None)
            if found is None:
                raise LoadFileError(
                    f"{file} has no {qualname} when it is imported: define it at the top level, not below the main guard"
                )
            return found

    try:
        return Unpickler(io.BytesIO(raw)).load()
    except (ImportError, AttributeError) as exc:
        raise LoadFileError(f"the profile cannot be loaded in a process of its own: {exc}") from exc


def _main_module(file: Path, name: str) -> types.ModuleType:
    """The script of the process that sent the profile; `name` when it was started as `python -m name`."""
    if name:
        return importlib.import_module(name)
    return sys.modules.get(MAIN_ALIAS) or _import(file, MAIN_ALIAS)


# -- tracebacks


def trim_traceback(exc: BaseException, user_dir: str) -> str:
    """The traceback without the frames of the engine and of the import machinery; all of it if nothing would be left."""
    frames = traceback.extract_tb(exc.__traceback__)
    mine = [f for f in frames if not f.filename.startswith((ENGINE_DIR, "<frozen importlib"))]
    if user_dir and any(f.filename.startswith(user_dir) for f in mine):
        while not mine[0].filename.startswith(user_dir):
            mine.pop(0)
    if not mine and not isinstance(exc, SyntaxError):  # a fault of the engine itself; a SyntaxError shows its own place
        mine = list(frames)
    lines = traceback.format_list(mine)[:MAX_FRAMES]
    text = "".join([*lines, *traceback.format_exception_only(type(exc), exc)]).rstrip()
    cause = exc.__cause__
    return text if cause is None or cause is exc else f"{trim_traceback(cause, user_dir)}\nwhich led to:\n{text}"
