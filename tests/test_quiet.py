"""A program that has not said where its log goes is told nothing on its terminal, whatever happens on the network."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_PROGRAM = """
from failsafe import FailsafeError, ProviderConfig, Router

nobody = "http://127.0.0.1:9/v1"
with Router([ProviderConfig(name=name, base_url=nobody, api_key="k") for name in ("a", "b")]) as router:
    for _ in range(6):  # enough to open both breakers
        try:
            router.chat("hi", model="m", timeout=0.5)
        except FailsafeError:
            pass
    print(router.stats()["a"]["breaker"].state)
"""


def test_failures_retries_and_open_breakers_write_nothing_by_themselves() -> None:
    root = Path(__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM], cwd=root, capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "open", "")


def test_a_program_that_wants_the_log_gets_it() -> None:
    root = Path(__file__).parents[1]
    program = "import logging\nlogging.basicConfig(level=logging.WARNING)\n" + _PROGRAM
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=root, capture_output=True, text=True, timeout=30, check=False
    )
    assert done.stdout.strip() == "open"
    assert "breaker a: closed -> open" in done.stderr
