"""Starting threads, at whatever moment of a program."""

from __future__ import annotations

import sys
import threading


def start(thread: threading.Thread) -> None:
    """
    Start *thread*.

    Raises:
        RuntimeError: The machine has no thread left, or the interpreter is ending. Python says the latter by itself
            from 3.12 on; before, whoever starts a thread then, a finalizer say, waits for it for ever.
    """
    if sys.is_finalizing():
        raise RuntimeError("can't start a thread while the interpreter ends")
    thread.start()
