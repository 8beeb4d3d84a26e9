"""The scripts behind the Makefile find what is there, and name what is not."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

TOOLS = Path(__file__).resolve().parents[1] / "tools"
SYSTEM_PATH = "/usr/bin:/bin"

GOOD = "3.12.4 new whole /opt/python"
OLD = "3.10.9 old whole /opt/old"
BARE = "3.11.2 new bare /usr"


def load(name: str) -> ModuleType:
    """The tool *name*, as a module."""
    spec = importlib.util.spec_from_file_location(name, TOOLS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def put(path: Path, script: str) -> Path:
    """An executable shell script."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


def says(answer: str) -> str:
    """The script of an interpreter that answers the questions of pythons.sh so."""
    return f"echo '{answer}'"


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A folder with the few commands that the scripts need, and no Python."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("awk", "cat", "dirname", "grep", "head", "mktemp", "mkdir", "printf", "rm", "sh", "sort", "touch"):
        found = shutil.which(name, path=SYSTEM_PATH)
        assert found is not None
        (folder / name).symlink_to(found)
    return folder


def run(machine: Path, *command: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Run a script on *machine*, in an empty folder."""
    environment = {"PATH": str(machine), "HOME": str(machine.parent), **more}
    return subprocess.run(
        ["/bin/sh", *command],
        check=False, cwd=machine.parent, env=environment, capture_output=True, text=True, timeout=50,
    )  # fmt: skip


def pythons(machine: Path, **more: str) -> list[list[str]]:
    answer = run(machine, str(TOOLS / "pythons.sh"), **more)
    assert answer.returncode == 0, answer.stderr
    return [line.split("\t") for line in answer.stdout.splitlines()]


def test_a_good_interpreter_is_found_once(machine: Path) -> None:
    path = put(machine / "python3.12", says(GOOD))
    put(machine / "python3", says(GOOD))
    assert pythons(machine) == [["ok", "3.12.4", str(path)]]


def test_an_old_interpreter_is_left_out(machine: Path) -> None:
    path = put(machine / "python3", says(OLD))
    assert pythons(machine) == [["skip", "3.10.9", str(path), "older than 3.11"]]


def test_an_interpreter_without_venv_is_left_out_with_the_debian_package(machine: Path) -> None:
    put(machine / "python3", says(BARE))
    ((verdict, _, _, reason),) = pythons(machine)
    assert (verdict, reason.partition(": ")[2]) == ("skip", "apt-get install python3.11-venv")


def test_a_shim_that_starts_nothing_is_left_out_with_what_it_said(machine: Path) -> None:
    path = put(machine / "python3.13", "echo 'pyenv: python3.13: command not found' >&2; exit 127")
    assert pythons(machine) == [["skip", "-", str(path), "does not run: pyenv: python3.13: command not found"]]


def test_the_versions_of_pyenv_are_found_without_their_shims(machine: Path) -> None:
    path = put(machine.parent / ".pyenv" / "versions" / "3.12.4" / "bin" / "python", says(GOOD))
    assert pythons(machine) == [["ok", "3.12.4", str(path)]]


def test_only_the_named_interpreter_is_looked_at(machine: Path) -> None:
    put(machine / "python3", says(GOOD))
    ((verdict, _, path, _),) = pythons(machine, PYTHON="/nowhere/python3")
    assert (verdict, path) == ("skip", "/nowhere/python3")


def test_this_interpreter_answers_the_questions() -> None:
    answer = subprocess.run(
        [TOOLS / "pythons.sh"],
        check=True, env={**os.environ, "PYTHON": sys.executable}, capture_output=True, text=True, timeout=50,
    )  # fmt: skip
    version = ".".join(map(str, sys.version_info[:3]))
    assert answer.stdout == f"ok\t{version}\t{sys.executable}\n"


def environment(machine: Path, extra: str, **more: str) -> subprocess.CompletedProcess[str]:
    return run(machine, str(TOOLS / "environment.sh"), ".venv", extra, **more)


def put_python_that_makes_environments(machine: Path, pip: str) -> None:
    """An interpreter whose environments have a pip that runs *pip*."""
    inside = f'case "$1 $2" in "-m pip") {pip};; *) exit 0;; esac'
    make = f"mkdir -p \"$4/bin\"; printf '%s\\n' '#!/bin/sh' '{inside}' > \"$4/bin/python\""
    put(
        machine / "python3.12",
        f"""case "$1 $2" in
        "-m venv") {make}; chmod +x "$4/bin/python" ;;
        --version*) echo Python 3.12.4 ;;
        *) echo '{GOOD}' ;;
        esac""",
    )
    (machine / "chmod").symlink_to("/bin/chmod")


def test_a_machine_without_python_is_told_what_to_install(machine: Path) -> None:
    answer = environment(machine, "cli")
    assert answer.returncode == 1
    assert "no usable Python 3.11 or newer" in answer.stderr
    assert "apt-get install python3 python3-venv" in answer.stderr


def test_a_python_too_old_is_named_with_the_reason(machine: Path) -> None:
    path = put(machine / "python3", says(OLD))
    answer = environment(machine, "cli")
    assert answer.returncode == 1
    assert f"{path}: older than 3.11" in answer.stderr


def test_an_unreachable_registry_is_said_to_be_the_matter(machine: Path) -> None:
    put_python_that_makes_environments(machine, "echo could not find a version >&2; exit 1")
    answer = environment(machine, "cli")
    assert answer.returncode == 1
    assert "could not find a version" in answer.stderr
    assert "PIP_INDEX_URL" in answer.stderr
    assert not (machine.parent / ".venv" / ".has-cli").exists()


def test_each_step_is_one_line_and_each_extra_leaves_its_mark(machine: Path) -> None:
    put_python_that_makes_environments(machine, "exit 0")
    answer = environment(machine, "test")
    assert (answer.returncode, answer.stderr) == (0, "")
    assert [line.partition(" ")[0] for line in answer.stdout.splitlines()] == ["making", "installing"]
    marks = {path.name for path in (machine.parent / ".venv").glob(".has-*")}
    assert marks == {".has-test", ".has-cli"}


def test_an_environment_that_is_there_is_kept(machine: Path) -> None:
    put_python_that_makes_environments(machine, "exit 0")
    environment(machine, "cli")
    answer = environment(machine, "test")
    assert [line.partition(" ")[0] for line in answer.stdout.splitlines()] == ["installing"]


def test_dead_links_are_found(tmp_path: Path) -> None:
    check_links = load("check_links")
    page = tmp_path / "README.md"
    page.write_text(
        "# One thing\n[a](#one-thing) [b](#other) [c](gone.md) [d](https://example.org)\n```\n[e](x)\n```\n"
    )
    dead = [line.split(": ", 1)[1] for line in check_links.dead_links(page)]
    assert dead == ["#other: no such heading", "gone.md: no such file"]


def test_equal_headings_get_numbered_anchors() -> None:
    assert load("check_links").anchors("# Same\n## Same\n### `code` & more\n") == {"same", "same-1", "code--more"}


def test_the_benchmarks_are_summed_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    program = "# Goals( __main__\nimport sys\nprint('goal {0}: 1 (asked 2) {1}')\nsys.exit({2})\n"
    (tmp_path / "fast.py").write_text(program.format("fast", "ok", 0))
    (tmp_path / "slow.py").write_text(program.format("slow", "short", 1))
    (tmp_path / "helper.py").write_text("raise SystemExit('a helper is not run')")
    assert load("bench").main(tmp_path) == 1
    summary = capsys.readouterr().out.partition("== summary\n")[2]
    assert summary == "fast: goal fast: 1 (asked 2) ok\nslow: goal slow: 1 (asked 2) short\n"


def test_a_benchmark_that_breaks_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "broken.py").write_text("# Goals( __main__\nraise SystemExit(3)\n")
    assert load("bench").main(tmp_path) == 1
    assert "broken: ended with exit code 3" in capsys.readouterr().out


def test_a_library_that_qt_lacks_is_named_with_its_package(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    qt_libraries = load("qt_libraries")
    monkeypatch.setattr(qt_libraries, "find_spec", lambda name: object())
    monkeypatch.setattr(qt_libraries, "DEBIAN_PACKAGES", {"libnone.so.7": "libnone7"})
    assert qt_libraries.main() == (1 if sys.platform.startswith("linux") else 0)
    assert "apt-get install libnone7" in capsys.readouterr().err


def test_without_qt_its_libraries_are_nobodys_concern(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    qt_libraries = load("qt_libraries")
    monkeypatch.setattr(qt_libraries, "find_spec", lambda name: None)
    assert qt_libraries.main() == 0
    assert capsys.readouterr().err == ""
