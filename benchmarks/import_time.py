"""
How long a program waits for ``import failsafe``, against ``import requests``.

Whole processes, from fork to exit, taken in turns: a program starts once, and what the machine
does meanwhile then weighs on all alike. Each ratio is the median of the rounds' ratios.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from functools import partial
from pathlib import Path

from measure import Goals, interleaved, median_ratio

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

ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
"""An installed package is compiled once; so is this one, in the round that is left out."""

AT_MOST = 1.4
WISHED = 1.15


def run(program: str) -> None:
    """Run *program* in a fresh interpreter, from its start to its end."""
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=ENVIRONMENT, check=True)


def extras_after(program: str) -> set[str]:
    """Which extras a fresh interpreter has loaded after *program*."""
    code = f"{program}\nimport sys\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    answer = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)
    return EXTRAS & set(answer.stdout.split())


def main() -> int:
    """Print the medians and the goals; the exit code tells whether all goals were met."""
    taken = interleaved({program: partial(run, program) for program in PROGRAMS}, rounds=ROUNDS, count=1)
    ratios = {program: median_ratio(taken[program], taken[REQUESTS]) for program in PROGRAMS}
    for program in PROGRAMS:
        print(f"{program:30} {statistics.median(taken[program]) / 1e6:7.1f} ms  x{ratios[program]:.2f}")
    print(f"wished for: at most x{WISHED}")
    goals = Goals()
    for program in (PACKAGE, ROUTER):
        goals.at_most(f"{program}, whole process, times import requests", ratios[program], AT_MOST)
        loaded = extras_after(program)
        goals.at_most(f"{program}, extras loaded", len(loaded), 0)
        if loaded:
            print(f"loaded by {program}: {', '.join(sorted(loaded))}")
    return goals.finish()


if __name__ == "__main__":
    sys.exit(main())
