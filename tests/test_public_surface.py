"""The public names: there, documented, typed, loaded late."""

from __future__ import annotations

import ast
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import failsafe
from failsafe import errors

ROOT = Path(__file__).resolve().parents[1]

HEAVY = {"msgspec", "requests", "urllib3"}
EXTRAS = {"PySide6", "click", "flask", "keyring", "pyqtgraph", "rich", "waitress", "werkzeug"}


def run(code: str) -> str:
    """What a fresh interpreter prints for *code*."""
    answer = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True, timeout=50
    )
    return answer.stdout


def modules_after(code: str) -> set[str]:
    """The top-level modules that a fresh interpreter has loaded after *code*."""
    return set(run(f"{code}\nimport sys\nprint(*{{name.partition('.')[0] for name in sys.modules}})").split())


@pytest.mark.parametrize("name", failsafe.__all__)
def test_every_public_name_resolves_and_is_documented(name: str) -> None:
    value = getattr(failsafe, name)
    assert value.__name__ == name
    assert value.__doc__
    assert name in dir(failsafe)


def test_the_public_names_are_sorted_and_unique() -> None:
    assert sorted(set(failsafe.__all__)) == failsafe.__all__


def test_the_list_the_table_and_the_types_name_the_same() -> None:
    imported = {
        alias.name: node.module
        for node in ast.walk(ast.parse(Path(failsafe.__file__).read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("failsafe.")
        for alias in node.names
    }
    tabled = {name: f"failsafe.{module}" for module, names in failsafe._HOMES.items() for name in names}
    assert tabled == imported
    assert sorted(tabled) == failsafe.__all__


def test_every_error_is_public() -> None:
    named = {
        name for name, value in vars(errors).items() if isinstance(value, type) and value.__module__ == errors.__name__
    }
    assert named <= set(failsafe.__all__)


def test_an_unknown_name_is_refused_as_by_any_module() -> None:
    with pytest.raises(AttributeError, match="module 'failsafe' has no attribute 'Ruoter'"):
        _ = failsafe.Ruoter  # type: ignore[attr-defined]


def test_a_star_import_brings_the_public_names_only() -> None:
    before = "before = set(globals())\n"
    after = "print(*sorted(set(globals()) - before - {'before'}))"
    assert run(f"{before}from failsafe import *\n{after}").split() == failsafe.__all__


def test_the_import_alone_loads_neither_network_nor_json() -> None:
    assert modules_after("import failsafe") & (HEAVY | EXTRAS) == set()


def test_the_router_loads_no_extra() -> None:
    assert modules_after("from failsafe import Router") & EXTRAS == set()


def test_no_module_has_the_name_of_something_public() -> None:
    """Importing the module would put it in the place of the public name."""
    modules = {module.name for module in pkgutil.iter_modules(failsafe.__path__)}
    assert modules & set(failsafe.__all__) == set()
