"""What import-linter cannot see: modules take each other's names from where they live."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "failsafe"
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def taken_from_the_package(path: Path) -> set[str]:
    """The names that the module at *path* imports from ``failsafe`` itself, submodules apart."""
    names = {
        alias.name
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and node.module == "failsafe" and node.level == 0
        for alias in node.names
    }
    return {name for name in names if not (PACKAGE / name).is_dir() and not (PACKAGE / f"{name}.py").is_file()}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_no_module_goes_through_the_public_names(path: Path) -> None:
    """A public name is a way up through the layers, and it would be loaded in the middle of another import."""
    assert taken_from_the_package(path) <= {"__version__"}
