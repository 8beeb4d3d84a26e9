"""What a user installs is what the tree holds: every package, every data file, and nothing else."""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

import failsafe
import failsafe_gui.icons

ROOT = Path(__file__).resolve().parents[1]
ROOTS = {"failsafe": ROOT / "failsafe", "failsafe_gui": ROOT / "gui" / "failsafe_gui"}
ASSETS = "failsafe_gui/assets"
NOT_SOURCE = shutil.ignore_patterns(".*", "build", "dist", "__pycache__", "*.egg-info", "docs", "tests", "benchmarks")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel, built from a copy of the tree, so that the tree stays as it is."""
    source = tmp_path_factory.mktemp("source") / "failsafe-llm"
    shutil.copytree(ROOT, source, ignore=NOT_SOURCE)
    target = tmp_path_factory.mktemp("wheel")
    build = f"from setuptools.build_meta import build_wheel; build_wheel({str(target)!r})"
    subprocess.run([sys.executable, "-c", build], cwd=source, check=True, capture_output=True, timeout=50)
    (path,) = target.glob("*.whl")
    return zipfile.ZipFile(path)


@pytest.fixture(scope="module")
def shipped(wheel: zipfile.ZipFile) -> set[str]:
    """The files of the wheel but for its own metadata."""
    return {name for name in wheel.namelist() if ".dist-info/" not in name}


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    """The ``[project]`` table of pyproject.toml."""
    table: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return table


def in_tree() -> set[str]:
    """The files of both packages and of assets/, as the wheel should name them."""
    found = {
        f"{name}/{path.relative_to(top).as_posix()}"
        for name, top in ROOTS.items()
        for path in top.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    return found | {f"{ASSETS}/{path.name}" for path in (ROOT / "assets").iterdir()}


def test_setup_cfg_lists_every_package() -> None:
    """A package that setup.cfg forgets would be missing from the wheel without an error."""
    options = configparser.ConfigParser()
    options.read(ROOT / "setup.cfg")
    listed = set(options["options"]["packages"].split())
    found = {
        ".".join((name, *init.parent.relative_to(top).parts))
        for name, top in ROOTS.items()
        for init in top.rglob("__init__.py")
    }
    assert listed - {"failsafe_gui.assets"} == found


def test_the_wheel_holds_the_files_of_the_tree_and_no_others(shipped: set[str]) -> None:
    assert shipped == in_tree()


def test_the_wheel_holds_the_data_files(shipped: set[str]) -> None:
    data = {name for name in shipped if not name.endswith(".py")}
    assert data >= {"failsafe/py.typed", "failsafe_gui/py.typed", f"{ASSETS}/failsafe.svg"}


def test_the_wheel_has_two_packages_at_its_top(shipped: set[str]) -> None:
    assert {name.partition("/")[0] for name in shipped} == {"failsafe", "failsafe_gui"}


def test_the_wheel_states_its_licence_and_its_python(wheel: zipfile.ZipFile) -> None:
    (path,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    metadata = wheel.read(path).decode("utf-8")
    assert "\nLicense-Expression: Apache-2.0\n" in metadata
    assert "\nRequires-Python: >=3.11\n" in metadata
    assert f"\nVersion: {failsafe.__version__}\n" in metadata
    assert any(name.endswith("/licenses/LICENSE") for name in wheel.namelist())


def test_the_version_has_its_place_in_the_changelog() -> None:
    assert f"## {failsafe.__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_each_python_that_is_promised_is_allowed(project: dict[str, Any]) -> None:
    promised = re.findall(r"Python :: 3\.(\d+)", "\n".join(project["classifiers"]))
    least = int(project["requires-python"].removeprefix(">=3."))
    assert min(map(int, promised)) == least


def test_every_dependency_has_a_lower_bound(project: dict[str, Any]) -> None:
    extras = project["optional-dependencies"]
    pinned = {"peers"}  # what is compared with is compared in one version
    requirements = project["dependencies"] + [line for name in extras.keys() - pinned for line in extras[name]]
    unbounded = [line for line in requirements if ">=" not in line and not line.startswith("failsafe-llm[")]
    assert unbounded == []


def test_the_extra_all_names_every_extra_of_a_user(project: dict[str, Any]) -> None:
    (line,) = project["optional-dependencies"]["all"]
    named = set(line.removeprefix("failsafe-llm[").removesuffix("]").split(","))
    assert named == set(project["optional-dependencies"]) - {"all", "bench", "dev", "peers", "test"}


def test_an_asset_is_found_in_a_checkout() -> None:
    icon = failsafe_gui.icons.asset("failsafe.svg")
    assert ET.fromstring(icon.read_text(encoding="utf-8")).get("viewBox") == "0 0 16 16"


def test_an_asset_that_is_not_there_is_named() -> None:
    with pytest.raises(FileNotFoundError, match=r"no\.svg"):
        failsafe_gui.icons.asset("no.svg")


def test_an_asset_is_found_in_a_wheel(wheel: zipfile.ZipFile, tmp_path: Path) -> None:
    wheel.extractall(tmp_path)
    find = "from failsafe_gui.icons import asset; print(asset('failsafe.svg'))"
    answer = subprocess.run(
        [sys.executable, "-c", find], cwd=tmp_path, check=True, capture_output=True, text=True, timeout=50
    )
    assert Path(answer.stdout.strip()) == tmp_path / ASSETS / "failsafe.svg"


def test_the_monitor_says_in_one_line_that_it_has_no_window() -> None:
    path = f"{ROOT}:{ROOT / 'gui'}"
    answer = subprocess.run(
        [sys.executable, "-m", "failsafe_gui"],
        check=False,
        env={"PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert answer.returncode == 1
    assert re.fullmatch(r"failsafe-monitor: .* not part of failsafe-llm 0\.1\.0; .*\n", answer.stderr)


def test_the_desktop_file_starts_the_installed_command(project: dict[str, Any]) -> None:
    entry = configparser.ConfigParser(interpolation=None)
    entry.read(ROOT / "assets" / "failsafe-monitor.desktop")
    desktop = entry["Desktop Entry"]
    assert desktop["Exec"] in project["gui-scripts"]
    assert (ROOT / "assets" / f"{desktop['Icon']}.svg").is_file()
