"""Load files and profiles on their way: what is found, what is refused and how it is told."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from wasp_ray.errors import LoadFileError
from wasp_ray.load.locate import load_file, trim_traceback

GOOD = """
from wasp_ray import *
class G(Gun):
    async def call(self): pass
def make(rate: "int | None" = None, fast: bool = False, **rest) -> Profile:
    return Profile(Generator("g", gun=G, schedule=plain(rate or 1, "1s")), name=f"{rate!r} {fast!r} {rest!r}")
profile = make(3)
"""


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    """sys.path and sys.modules as they were."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "modules", dict(sys.modules))


def test_a_profile_and_a_function_with_parameters(tmp_path: Path) -> None:
    """Converted by annotation, optional ones too; **kwargs take texts."""
    path = tmp_path / "load.py"
    path.write_text(GOOD)
    assert load_file(str(path), {}).name == "3 False {}"
    assert load_file(f"{path}:make", {"rate": "7", "fast": "on", "x": "y"}).name == "7 True {'x': 'y'}"


@pytest.mark.parametrize(
    ("spec", "params", "told"),
    [
        ("load.py:nothing", {}, "it has profile"),
        ("load.py", {"a": "b"}, "not a function"),
        ("load.py:make", {"rate": "x"}, "expected int"),
        ("load.py:make", {"fast": "maybe"}, "true or false"),
        ("none.py", {}, "no such file"),
        (".", {}, "is a folder"),
    ],
)
def test_what_cannot_be_used_is_told_with_the_cure(
    tmp_path: Path, spec: str, params: dict[str, str], told: str
) -> None:
    """One sentence."""
    (tmp_path / "load.py").write_text(GOOD)
    with pytest.raises(LoadFileError, match=told):
        load_file(str(tmp_path / spec), params)


def test_the_load_files_folder_comes_first(tmp_path: Path) -> None:
    """Even when it was on the path already, behind another with the same helper."""
    for folder in ("other", "mine"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "shop_helper.py").write_text(f"WHERE = {folder!r}")
    (tmp_path / "mine" / "load.py").write_text("import shop_helper\n" + GOOD + "profile.name = shop_helper.WHERE")
    sys.path[:0] = [str(tmp_path / "other"), str(tmp_path / "mine")]
    assert load_file(str(tmp_path / "mine" / "load.py"), {}).name == "mine"


def test_a_load_file_named_like_a_module_leaves_that_module_alone(tmp_path: Path) -> None:
    """json.py is a fine name."""
    import json

    (tmp_path / "json.py").write_text(GOOD)
    assert load_file(str(tmp_path / "json.py"), {}).name == "3 False {}"
    assert sys.modules["json"] is json


def test_tracebacks_show_the_users_frames_and_causes() -> None:
    """From the first frame of the user's folder on."""
    try:
        try:
            int("x")
        except ValueError as exc:
            raise KeyError("no user") from exc
    except KeyError as exc:
        text = trim_traceback(exc, str(Path(__file__).parent))
    assert "ValueError" in text and "which led to" in text and text.endswith("KeyError: 'no user'")


def test_a_module_run_by_name_sends_its_classes(tmp_path: Path) -> None:
    """python -m package.module, with relative imports."""
    package = tmp_path / "shop"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "names.py").write_text("NAME = 'u'")
    (package / "load.py").write_text(
        "import time\nfrom wasp_ray import *\nfrom .names import NAME\n"
        "class U(VirtualUser):\n    def call(self): time.sleep(0.01)\n"
        "if __name__ == '__main__':\n"
        "    print(Profile(Generator(NAME, user=U, schedule=plain(1, '200ms'))).run().verdict)\n"
    )
    done = subprocess.run([sys.executable, "-m", "shop.load"], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "passed", done.stderr
