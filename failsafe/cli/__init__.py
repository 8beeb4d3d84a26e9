"""The command ``failsafe``."""

from __future__ import annotations

import io
import sys


def main() -> None:
    """Run the command line; say in one line which extra is missing when it is."""
    _write_what_can_be_written()
    try:
        from failsafe.cli.app import app
    except ModuleNotFoundError as error:
        missing = error.name
    else:
        app(prog_name="failsafe")
        return
    if missing not in ("click", "rich"):
        sys.exit(f"failsafe: the module {missing!r} is missing; install failsafe-llm again")
    sys.exit(f"failsafe: the command line needs {missing}; pip install 'failsafe-llm[cli]'")


def _write_what_can_be_written() -> None:
    """Let a character that the terminal's encoding has not got come out as ``?``, rather than lose the answer."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
