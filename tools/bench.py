"""Runs every benchmark that has goals, and sums up which were met."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


def programs(folder: Path) -> list[Path]:
    """The benchmarks that are programs with goals; helpers they share are not."""
    return [
        path
        for path in sorted(folder.glob("*.py"))
        if "__main__" in (text := path.read_text(encoding="utf-8")) and "Goals(" in text
    ]


def run(program: Path) -> tuple[list[str], int]:
    """Run *program*, passing on what it prints; its goal lines and its exit code."""
    goals: list[str] = []
    process = subprocess.Popen([sys.executable, str(program)], stdout=subprocess.PIPE, text=True, encoding="utf-8")
    with process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            if line.startswith("goal "):
                goals.append(line.rstrip())
    return goals, process.returncode


def main(folder: Path = BENCHMARKS) -> int:
    """Run all; 1 if any benchmark failed or fell short of a goal."""
    summary: list[str] = []
    failed = 0
    for program in programs(folder):
        print(f"== {program.name}", flush=True)
        goals, code = run(program)
        failed += code != 0
        summary += [f"{program.stem}: {line}" for line in goals]
        if code and not any(line.endswith("short") for line in goals):
            summary.append(f"{program.stem}: ended with exit code {code}")
    print("== summary", *summary, sep="\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
