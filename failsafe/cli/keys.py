"""Single keys from the terminal, without waiting for the end of a line."""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


def _no_keys() -> str:
    return ""


def _is_in_background(descriptor: int) -> bool:
    try:
        return os.getpgrp() != os.tcgetpgrp(descriptor)
    except OSError:  # not this session's terminal: nothing stops anybody there
        return False


@contextmanager
def pressed_keys() -> Iterator[Callable[[], str]]:
    """What was typed since it was asked last, at once; always nothing where standard input is no terminal."""
    try:
        import termios
        import tty
    except ModuleNotFoundError:  # Windows
        yield _no_keys
        return
    if sys.stdin is None or not sys.stdin.isatty():
        yield _no_keys
        return
    descriptor = sys.stdin.fileno()
    if _is_in_background(descriptor):  # where a change would stop this program
        yield _no_keys
        return
    before = termios.tcgetattr(descriptor)

    def read() -> str:
        ready, _, _ = select.select([descriptor], [], [], 0)
        return os.read(descriptor, 64).decode("ascii", "replace") if ready else ""

    try:
        tty.setcbreak(descriptor)
        yield read
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
