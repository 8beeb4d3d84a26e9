"""Runs ``failsafe`` as a program of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parents[2]
FAILSAFE = [sys.executable, "-m", "failsafe.cli"]
HARD_CAP = 30.0
"""Seconds after which a program that does not end is a failure."""


def finished(
    *arguments: str, given: bytes = b"", variables: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    """What became of ``failsafe ARGUMENTS``."""
    environment = {**os.environ, **(variables or {})}
    command = [*FAILSAFE, *arguments]
    return subprocess.run(
        command, input=given, env=environment, cwd=ROOT, capture_output=True, timeout=HARD_CAP, check=False
    )


@contextmanager
def running(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """``failsafe ARGUMENTS``, killed at the end if it still runs."""
    with subprocess.Popen(
        [*FAILSAFE, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def until(stream: IO[str] | None, text: str) -> str:
    """Read *stream* up to the line that holds *text*, and return that line."""
    assert stream is not None
    while text not in (line := stream.readline()):
        assert line, f"ended before it said {text!r}"
    return line
