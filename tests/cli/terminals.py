"""``failsafe`` at a terminal."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from tests.cli.programs import FAILSAFE, HARD_CAP, ROOT


class Terminal:
    """The near end of a pseudo terminal of 80 columns and 24 lines, and the program at the other."""

    def __init__(self, descriptor: int, process: subprocess.Popen[bytes]) -> None:
        self._descriptor = descriptor
        self.process = process
        self.shown = b""

    def read_until(self, enough: Callable[[bytes], bool]) -> None:
        """Take in what is shown until *enough*, or until the program has ended."""
        while not enough(self.shown):
            ready, _, _ = select.select([self._descriptor], [], [], HARD_CAP)
            assert ready, f"nothing more was shown after {self.shown[-200:]!r}"
            try:
                more = os.read(self._descriptor, 65536)
            except OSError:  # how Linux says that the other end is closed
                return
            self.shown += more

    def press(self, keys: str) -> None:
        """Type *keys*."""
        os.write(self._descriptor, keys.encode())


@contextmanager
def terminal(*arguments: str, variables: Mapping[str, str] | None = None) -> Iterator[Terminal]:
    near, far = pty.openpty()
    environment = {**os.environ, "COLUMNS": "80", "LINES": "24", "TERM": "xterm-256color", **(variables or {})}
    try:
        with subprocess.Popen(
            [*FAILSAFE, *arguments],
            stdin=far,
            stdout=far,
            stderr=far,
            cwd=ROOT,
            env=environment,
            start_new_session=True,
        ) as process:
            os.close(far)
            try:
                yield Terminal(near, process)
            finally:
                process.kill()
    finally:
        os.close(near)


def shown_by(*arguments: str, columns: int = 80, colours: bool = False) -> tuple[int, list[str]]:
    """The exit code of ``failsafe ARGUMENTS`` at a terminal, and the lines it shows, without colours unless wished."""
    variables = {"COLUMNS": str(columns), **({} if colours else {"NO_COLOR": "1"})}
    with terminal(*arguments, variables=variables) as screen:
        screen.read_until(lambda shown: False)
        code = screen.process.wait(HARD_CAP)
    text = screen.shown.decode()
    return code, (text if colours else re.sub(r"\x1b\[[0-9;]*m", "", text)).splitlines()
