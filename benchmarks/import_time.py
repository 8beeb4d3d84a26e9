"""
How long a program waits for ``import failsafe``, against ``import requests``.

Whole processes, from fork to exit, taken in turns: a program starts once, and what the machine
does meanwhile then weighs on all alike. Each ratio is the median of the rounds' ratios.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

from measure import Goals

ROOT = Path(__file__).resolve().parents[1]
ROUNDS = 25

NOTHING = "pass"
REQUESTS = "import requests"
PACKAGE = "import failsafe"
ROUTER = "from failsafe import Router"
PROGRAMS = (NOTHING, REQUESTS, PACKAGE, ROUTER)

EXTRAS = {
    "PySide6",
    "anthropic",
    "click",
    "flask",
    "keyring",
    "openai",
    "opentelemetry",
    "prometheus_client",
    "pyqtgraph",
    "redis",
    "rich",
    "tomlkit",
}
"""The top-level modules of every extra, of this version's and of those to come."""

AT_MOST = 1.4
WISHED = 1.15


def seconds(program: str) -> float:
    """The time that an interpreter takes for *program*, its start and end included."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)
    return time.perf_counter() - started


def extras_after(program: str) -> set[str]:
    """Which extras a fresh interpreter has loaded after *program*."""
    code = f"{program}\nimport sys\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    answer = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)
    return EXTRAS & set(answer.stdout.split())


def measure() -> dict[str, list[float]]:
    """The seconds of each program in each round; a first round, which fills the caches, is left out."""
    rounds = [{program: seconds(program) for program in PROGRAMS} for _ in range(ROUNDS + 1)]
    return {program: [taken[program] for taken in rounds[1:]] for program in PROGRAMS}


def ratio(program: str, taken: dict[str, list[float]]) -> float:
    """How many times as long as ``import requests`` *program* takes."""
    return statistics.median(own / other for own, other in zip(taken[program], taken[REQUESTS], strict=True))


def main() -> int:
    """Print the medians and the goals; the exit code tells whether all goals were met."""
    taken = measure()
    for program in PROGRAMS:
        print(f"{program:30} {statistics.median(taken[program]) * 1000:7.1f} ms  x{ratio(program, taken):.2f}")
    print(f"wished for: at most x{WISHED}")
    goals = Goals()
    for program in (PACKAGE, ROUTER):
        goals.at_most(f"{program}, whole process, times import requests", ratio(program, taken), AT_MOST)
        loaded = extras_after(program)
        goals.at_most(f"{program}, extras loaded", len(loaded), 0)
        if loaded:
            print(f"loaded by {program}: {', '.join(sorted(loaded))}")
    return goals.finish()


if __name__ == "__main__":
    sys.exit(main())
