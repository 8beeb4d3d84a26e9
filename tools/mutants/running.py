"""Put a mutant into a copy of the package, and find out which test notices."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]

COPIED = ("failsafe", "tests", "docs", "pyproject.toml")
PATIENCE = 240.0
"""Seconds after which the tests of one mutant are given up: it hangs."""
TEST_PATIENCE = 20
"""Seconds after which one test has failed: a lock is held for ever, or a wait has no end."""

_FAILED = re.compile(r"^(?:FAILED|ERROR) (\S+?::\S+|\S+)", re.MULTILINE)
_IGNORED = shutil.ignore_patterns("__pycache__", ".*")


class Mutant(NamedTuple):
    """
    A small change of the code that some test must notice.

    Attributes:
        name: What is wrong with it, in words.
        file: The module, below ``failsafe/``.
        old: The text that is replaced; it stands there exactly once.
        new: What replaces it.
    """

    name: str
    file: str
    old: str
    new: str


class Rotten(ValueError):
    """A mutant does not fit the code any more; the list has to be put right."""


class Verdict(NamedTuple):
    """What became of a mutant: ``killed`` by the test named, or not; ``detail`` says the rest."""

    mutant: Mutant
    killed: bool
    detail: str


def mutated(mutant: Mutant, root: Path = ROOT) -> str:
    """
    The text of the mutant's module with the change in it.

    Raises:
        Rotten: The old text is not there exactly once, the change changes nothing, or the result does not compile.
    """
    path = root / "failsafe" / mutant.file
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise Rotten(f"{mutant.name}: there is no failsafe/{mutant.file}") from None
    found = text.count(mutant.old)
    if found != 1:
        raise Rotten(f"{mutant.name}: its old text stands {found} times in failsafe/{mutant.file}, once is needed")
    if mutant.old == mutant.new:
        raise Rotten(f"{mutant.name}: it changes nothing")
    changed = text.replace(mutant.old, mutant.new)
    try:
        compile(changed, mutant.file, "exec")
    except SyntaxError as error:
        raise Rotten(f"{mutant.name}: the changed failsafe/{mutant.file} does not compile ({error})") from None
    return changed


class Bench:
    """
    A copy of the package and its tests. Not thread-safe: one bench for each worker.

    Args:
        folder: Where the copy is made; an empty folder.
        root: What is copied.
    """

    def __init__(self, folder: Path, root: Path = ROOT) -> None:
        self.folder = folder
        self._root = root
        for name in COPIED:
            if (root / name).is_dir():
                shutil.copytree(root / name, folder / name, ignore=_IGNORED)
            else:
                shutil.copy(root / name, folder / name)

    def unchanged(self, tests: tuple[str, ...]) -> str | None:
        """None if *tests* pass on the code as it is and use this copy of it; else what they said."""
        where = self._python("-c", "import failsafe; print(failsafe.__file__)")
        if str(self.folder) not in where.stdout:
            return f"the copy is not what is imported, but {where.stdout or where.stderr}"
        ended = self._test(tests)
        return None if ended.returncode == 0 else ended.stdout + ended.stderr

    def judge(self, mutant: Mutant, tests: tuple[str, ...]) -> Verdict:
        """Run *tests* with *mutant* in place."""
        path = self.folder / "failsafe" / mutant.file
        before = path.read_text(encoding="utf-8")
        self._write(path, mutated(mutant, self.folder))
        try:
            ended = self._test(tests)
        except subprocess.TimeoutExpired:
            return Verdict(mutant, killed=True, detail=f"the tests' hanging for {PATIENCE:g} s")
        finally:
            self._write(path, before)
        if ended.returncode == 0:
            return Verdict(mutant, killed=False, detail="SURVIVED")
        failed = _FAILED.search(ended.stdout)
        if ended.returncode != 1 or failed is None:
            return Verdict(mutant, killed=False, detail=f"the tests did not run: {ended.stdout[-2000:]}{ended.stderr}")
        return Verdict(mutant, killed=True, detail=failed[1])

    def _write(self, path: Path, text: str) -> None:
        path.write_text(text, encoding="utf-8")
        # Compiled code is known by time and size, which a quick change may leave as they were.
        Path(importlib.util.cache_from_source(path)).unlink(missing_ok=True)

    def _test(self, tests: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
        options = ("-x", "-q", "-rfE", "--no-header", "-p", "no:randomly", "-p", "no:cacheprovider")
        bounded = (
            f"--timeout={TEST_PATIENCE}",
            "--hypothesis-profile=ci",
        )  # hypothesis's own: derandomised, no database
        return self._python("-m", "pytest", *options, *bounded, *self._files(tests))

    def _files(self, tests: tuple[str, ...]) -> Iterator[str]:
        for pattern in tests:
            found = sorted(self.folder.glob(pattern))
            if not found:
                raise Rotten(f"no file of tests is called {pattern}")
            yield from (str(path.relative_to(self.folder)) for path in found)

    def _python(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PYTHONPATH": str(self.folder), "COLUMNS": "400"}
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=PATIENCE,
            check=False,
        )
