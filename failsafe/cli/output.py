"""What a command that lasts prints at its start, for a shell to read."""

from __future__ import annotations

import os
import sys


def let_readers_go_on() -> None:
    """End standard output where it is a pipe or a file, or ``$(...)`` would wait for it as long as this runs."""
    if sys.stdout is not None and not sys.stdout.isatty():
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
