"""The lock files: they pin what pyproject.toml asks for, agree with each other, and name no server."""

from __future__ import annotations

import importlib.util
import re
import tomllib
from pathlib import Path
from types import ModuleType

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

FOLDER = Path(__file__).parents[2] / "requirements"
SMALL = ["demo.txt", "test-fast.txt"]
Pins = dict[tuple[str, str], frozenset[str]]
"""(name, version) -> its hashes."""


def script() -> ModuleType:
    """Return requirements/lock.py as a module."""
    spec = importlib.util.spec_from_file_location("lock", FOLDER / "lock.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def pins(lock: str) -> Pins:
    """Return all pins of a lock file; a package may have one for each version of Python."""
    found: Pins = {}
    for line in (FOLDER / lock).read_text().replace("\\\n", " ").splitlines():
        pinned, *hashes = line.split(" --hash=")
        name, version = re.split("==", pinned.partition(";")[0].strip())
        found[plain(name), version] = frozenset(each.strip() for each in hashes)
    return found


def plain(name: str) -> str:
    """Return a package's name as the index normalises it, without extras."""
    return re.sub(r"[-_.]+", "-", name.partition("[")[0]).lower()


def wanted(source: str) -> list[Requirement]:
    """Return the requirements of an input file and of those it includes."""
    found = []
    for line in (FOLDER / source).read_text().splitlines():
        text = line.partition("#")[0].strip()
        if text.startswith("-r "):
            found += wanted(text.removeprefix("-r "))
        elif text:
            found.append(Requirement(text))
    return found


@pytest.mark.parametrize("name", script().EXTRAS)
def test_generated_requirements_are_those_of_pyproject(name: str) -> None:
    """Whoever changes a dependency there runs `make lock`."""
    assert (FOLDER / name).read_text() == script().generated()[name]


def test_every_extra_is_locked() -> None:
    """A new extra of pyproject.toml is in one of the generated files."""
    extras = tomllib.loads((FOLDER.parent / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert set(extras) - {"all"} == {name for names in script().EXTRAS.values() for name in names}


@pytest.mark.parametrize("lock", script().LOCKS)
def test_a_lock_file_satisfies_its_requirements(lock: str) -> None:
    """Each requirement has a pin, and each of its pins is allowed."""
    found = pins(lock)
    for requirement in wanted(script().LOCKS[lock]):
        versions = [version for name, version in found if name == plain(requirement.name)]
        assert versions, requirement
        assert all(requirement.specifier.contains(Version(version)) for version in versions), (requirement, versions)


@pytest.mark.parametrize("lock", SMALL)
def test_a_small_lock_file_is_a_part_of_the_full_one(lock: str) -> None:
    """Equal versions and hashes, so that every environment runs the same code."""
    full, small = pins("dev.txt"), pins(lock)
    assert {pin: full.get(pin) for pin in small} == small
    assert len(small) < len(full)


@pytest.mark.parametrize("lock", script().LOCKS)
def test_a_lock_file_has_hashes_and_names_no_server(lock: str) -> None:
    """Where packages come from is each user's setting."""
    text = (FOLDER / lock).read_text()
    assert "://" not in text and " @ " not in text
    assert not re.findall(r"^-", text, re.MULTILINE), "an option for pip"
    for pin, hashes in pins(lock).items():
        assert hashes and all(re.fullmatch("sha256:[0-9a-f]{64}", each) for each in hashes), pin


def test_the_demo_installs_the_runtime_alone() -> None:
    """No extra of its own and no tool of the tests: an environment of some 115 MB."""
    names = {name for name, _ in pins("demo.txt")}
    assert not names & {"kubernetes", "mypy", "pydantic", "pytest", "ray", "requests"}
    assert len(names) < 40
