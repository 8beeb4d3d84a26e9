"""
Break the code on purpose, one small change at a time, and see that a test notices each: ``make mutants``.

The changes are made in copies below a temporary folder, never in the tree itself. One line a mutant, a summary,
and exit code 1 if one survived, does not fit the code any more, or could not be judged. Arguments choose mutants
by words of their names or files.
"""

from __future__ import annotations

import sys
import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tools.mutants.catalogue import MUTANTS, tests_for
from tools.mutants.running import Bench, Mutant, Rotten, Verdict, mutated

WORKERS = 2


def main(words: list[str], say: Callable[[str], None] = print) -> int:
    """Judge the mutants that *words* choose, all without any; 1 unless every one is killed."""
    chosen = [each for each in MUTANTS if all(word in f"{each.file} {each.name}" for word in words)]
    try:
        for mutant in chosen:
            mutated(mutant)
    except Rotten as rotten:
        say(str(rotten))
        return 1
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        verdicts = _judge_all(chosen, Path(folder), say)
    if verdicts is None:
        return 1
    survived = [verdict.mutant.name for verdict in verdicts if not verdict.killed]
    say(f"{len(verdicts) - len(survived)} of {len(verdicts)} mutants killed")
    return 1 if survived or not verdicts else 0


def _judge_all(mutants: list[Mutant], folder: Path, say: Callable[[str], None]) -> list[Verdict] | None:
    """The verdict on each; None if the tests fail on the code as it is."""
    benches = [Bench(_made(folder / str(number))) for number in range(WORKERS)]
    files = sorted({tests for mutant in mutants for tests in tests_for(mutant.file)})
    complaint = benches[0].unchanged(tuple(files))
    if complaint is not None:
        say(f"the tests fail already on the code as it is:\n{complaint}")
        return None
    own = threading.local()

    def take_bench() -> None:
        own.bench = benches.pop()

    def judge(mutant: Mutant) -> Verdict:
        verdict: Verdict = own.bench.judge(mutant, tests_for(mutant.file))
        outcome = f"killed by {verdict.detail}" if verdict.killed else verdict.detail
        say(f"{mutant.file}: {mutant.name}: {outcome}")
        return verdict

    with ThreadPoolExecutor(WORKERS, initializer=take_bench) as pool:
        return list(pool.map(judge, mutants))


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], lambda line: print(line, flush=True)))
