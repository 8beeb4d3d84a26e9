"""The command ``failsafe``."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line; say in one line which extra is missing when it is."""
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
