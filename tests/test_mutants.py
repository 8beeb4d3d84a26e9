"""The list of mutants fits the code, and the tool tells the living from the dead. ``make mutants`` runs them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tools.mutants import __main__ as tool
from tools.mutants.catalogue import MUTANTS
from tools.mutants.catalogue import tests_for as patterns_for
from tools.mutants.running import ROOT, Bench, Mutant, Rotten, Verdict, mutated

GUARD = """
def is_full(calls, most):
    return calls >= most
"""
ITS_TEST = """
from failsafe.guard import is_full

def test_it_is_full_at_the_limit():
    assert is_full(3, 3)
"""
ALIVE = Mutant("below the limit, too", "guard.py", "calls >= most", "calls >= most - 1")
DEAD = Mutant("off by one", "guard.py", "calls >= most", "calls > most")
UNFIT = Mutant("another name", "guard.py", "def is_full", "def is_empty")


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A project of one function and one test."""
    root = tmp_path / "small"
    files = {
        "failsafe/__init__.py": "",
        "failsafe/guard.py": GUARD,
        "tests/test_guard.py": ITS_TEST,
        "docs/guide.md": "",
        "pyproject.toml": '[tool.pytest.ini_options]\ntestpaths = ["tests"]\n',
    }
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root


# The list.


def test_every_old_text_stands_in_the_code_once_and_the_changed_code_compiles() -> None:
    rotten: list[str] = []
    for mutant in MUTANTS:
        try:
            mutated(mutant)
        except Rotten as complaint:
            rotten.append(str(complaint))
    assert rotten == []


def test_every_mutant_has_a_name_of_its_own_within_its_file() -> None:
    counted = Counter((mutant.file, mutant.name) for mutant in MUTANTS)
    assert [key for key, times in counted.items() if times > 1] == []
    changes = Counter((mutant.file, mutated(mutant)) for mutant in MUTANTS)
    assert [file for (file, _), times in changes.items() if times > 1] == [], "the same change twice"


@pytest.mark.parametrize("file", sorted({mutant.file for mutant in MUTANTS}))
def test_every_pattern_of_tests_finds_a_file(file: str) -> None:
    for pattern in patterns_for(file):
        assert list(ROOT.glob(pattern)), pattern


# Rot.


@pytest.mark.parametrize(
    ("mutant", "complaint"),
    [
        (Mutant("x", "guard.py", "calls <= most", "True"), "stands 0 times"),
        (Mutant("x", "guard.py", "most", "least"), "stands 2 times"),
        (Mutant("x", "gone.py", "calls", "most"), "there is no failsafe/gone.py"),
        (Mutant("x", "guard.py", "calls >= most", "calls >="), "does not compile"),
        (Mutant("x", "guard.py", "calls >= most", "calls >= most"), "changes nothing"),
    ],
)
def test_what_does_not_fit_the_code_is_named(small: Path, mutant: Mutant, complaint: str) -> None:
    with pytest.raises(Rotten, match=complaint):
        mutated(mutant, small)


def test_a_rotten_list_runs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tool, "MUTANTS", (Mutant("gone", "budget.py", "no such text", ""),))
    said: list[str] = []
    assert tool.main([], said.append) == 1
    assert said == ["gone: its old text stands 0 times in failsafe/budget.py, once is needed"]


# Judging.


def test_a_mutant_is_killed_by_a_test_that_fails_survives_without_one_and_the_code_is_put_back(
    small: Path, tmp_path: Path
) -> None:
    tests = ("tests/test_*.py",)
    (tmp_path / "copy").mkdir()
    bench = Bench(tmp_path / "copy", small)
    assert bench.unchanged(tests) is None
    verdicts = [bench.judge(mutant, tests) for mutant in (DEAD, ALIVE, UNFIT)]
    assert [verdict.killed for verdict in verdicts] == [True, False, False]
    assert verdicts[0].detail == "tests/test_guard.py::test_it_is_full_at_the_limit"
    assert verdicts[1].detail == "SURVIVED"
    assert verdicts[2].detail.startswith("the tests did not run")
    assert [(root / "failsafe" / "guard.py").read_text(encoding="utf-8") for root in (small, bench.folder)] == [
        GUARD
    ] * 2


def test_tests_that_fail_on_the_code_as_it_is_are_told(small: Path, tmp_path: Path) -> None:
    (small / "tests" / "test_guard.py").write_text("def test_sad(): assert False", encoding="utf-8")
    (tmp_path / "copy").mkdir()
    complaint = Bench(tmp_path / "copy", small).unchanged(("tests/test_*.py",))
    assert complaint is not None
    assert "test_sad" in complaint


def test_a_pattern_that_finds_no_tests_is_rot(small: Path, tmp_path: Path) -> None:
    (tmp_path / "copy").mkdir()
    with pytest.raises(Rotten, match="no file of tests is called"):
        Bench(tmp_path / "copy", small).judge(DEAD, ("tests/test_gone.py",))


class _Oracle:
    """Knows without running a test that all mutants die but one; says *complaint* of the code as it is."""

    complaint: str | None = None

    def __init__(self, _folder: Path) -> None:
        pass

    def unchanged(self, _tests: tuple[str, ...]) -> str | None:
        return self.complaint

    def judge(self, mutant: Mutant, _tests: tuple[str, ...]) -> Verdict:
        killed = mutant is not MUTANTS[0]
        return Verdict(mutant, killed=killed, detail="test_it" if killed else "SURVIVED")


def test_it_ends_well_only_if_every_mutant_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tool, "Bench", _Oracle)
    said: list[str] = []
    assert tool.main([], said.append) == 1
    assert said[-1] == f"{len(MUTANTS) - 1} of {len(MUTANTS)} mutants killed"
    assert f"{MUTANTS[0].file}: {MUTANTS[0].name}: SURVIVED" in said
    assert len(said) == len(MUTANTS) + 1
    assert tool.main(["hedge.py", "losers"], said.append) == 0
    assert said[-1].startswith("2 of 2")
    assert tool.main(["no such mutant"], said.append) == 1, "nothing was judged"


def test_it_judges_nothing_by_tests_that_fail_already(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tool, "Bench", _Oracle)
    monkeypatch.setattr(_Oracle, "complaint", "test_sad failed")
    said: list[str] = []
    assert tool.main([], said.append) == 1
    assert said == ["the tests fail already on the code as it is:\ntest_sad failed"]
