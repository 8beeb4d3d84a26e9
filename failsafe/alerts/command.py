"""Alerts to a program: JSON on its standard input, never a shell, never more than one at a time."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress

from failsafe import forking
from failsafe.alerts.grouping import Group
from failsafe.alerts.sinks import Render, Troubles
from failsafe.catalog import catalog
from failsafe.secret import Secret

TIMEOUT = 30.0
"""Seconds after which a program that has not ended is told to, with all that it has started."""

GRACE = 3.0
"""Seconds that it is then given, before it is killed."""

_STOPPING = 0.5
_KEY_NAMES = re.compile(r".*(API_?KEYS?|ADMIN_KEY)", re.IGNORECASE)
_SHORTEST_SECRET = 8  # what is shorter stands in other words by chance


class Command:
    """
    A :class:`failsafe.alerts.sinks.Sink` that starts a program for each group and gives it the group as JSON.

    What the program writes is thrown away. When it takes longer than *timeout*, it and what it has started are
    ended. A group is given to it once: whether it has done half of its work already, nobody knows. Its environment
    is that of this process without API keys.

    Args:
        arguments: The program and its arguments.
        render: Makes the JSON.
        secrets: Keys that must not be in its environment, under whatever name.
        timeout: Seconds that it may take.
        grace: Seconds between being told to end and being killed.
        environ: The environment; None: this process's own, as it is when the program is started.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        render: Render,
        *,
        secrets: Iterable[Secret] = (),
        timeout: float = TIMEOUT,
        grace: float = GRACE,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self._arguments = list(arguments)
        self._render = render
        self._secrets = tuple(secrets)
        self._timeout = timeout
        self._grace = grace
        self._environ = environ
        self._troubles = Troubles("command")
        self._stopped = False
        self._forget()
        forking.register(self)

    def _forget(self) -> None:
        self._lock = threading.RLock()  # a signal handler may stop it while this thread holds it
        self._running: subprocess.Popen[bytes] | None = None  # guarded by _lock

    _after_fork = _forget  # what runs is the parent's child, not ours

    @property
    def dropped(self) -> int:
        """Groups that the program could not be given, or failed on."""
        return self._troubles.count

    def deliver(self, group: Group, name: str) -> None:
        """Start the program for *group*, and wait until it has ended."""
        problem = self._run(self._render(group, name))
        if problem is None:
            self._troubles.delivered()
        else:
            self._troubles.dropped(problem)

    def _run(self, body: bytes) -> str | None:
        """What went wrong, or None."""
        try:
            process = self._start()
        except (OSError, ValueError) as error:  # its text may quote an argument
            return f"cannot be started ({type(error).__name__})"
        if process is None:
            return "is not started: the one before has not ended"
        try:
            process.communicate(body, timeout=self._timeout)
        except subprocess.TimeoutExpired:
            return f"took longer than {self._timeout:g} s and was ended"
        finally:
            self._end(process, self._grace)
            if process.stdin is not None:
                with suppress(OSError):  # it was never read
                    process.stdin.close()
        if process.returncode == 0:
            return None
        return f"failed (exit status {process.returncode})"

    def _start(self) -> subprocess.Popen[bytes] | None:
        environ = clean_environment(os.environ if self._environ is None else self._environ, self._secrets)
        with self._lock:
            if self._stopped or (self._running is not None and self._running.poll() is None):
                return None
            self._running = subprocess.Popen(  # noqa: S603 -- what the settings name, without a shell
                self._arguments,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=environ,
                start_new_session=True,  # so that all it starts can be ended with it
            )
            return self._running

    def _end(self, process: subprocess.Popen[bytes], grace: float) -> None:
        """See that *process* has ended and is reaped; one that cannot be killed is looked at before the next."""
        for sign in (signal.SIGTERM, getattr(signal, "SIGKILL", signal.SIGTERM)):
            if process.poll() is not None:
                break
            _signal(process, sign)
            with suppress(subprocess.TimeoutExpired):
                process.wait(grace)
        with self._lock:
            if self._running is process and process.returncode is not None:
                self._running = None

    def stop(self) -> None:
        """End the program if it runs, within a second or so, and start it no more."""
        with self._lock:
            self._stopped = True
            process = self._running
        if process is not None:
            self._end(process, min(self._grace, _STOPPING))


def _signal(process: subprocess.Popen[bytes], sign: signal.Signals) -> None:
    with suppress(OSError):  # it has just ended
        if hasattr(os, "killpg"):
            os.killpg(process.pid, sign)
        else:
            process.send_signal(sign)


def clean_environment(environ: Mapping[str, str], secrets: Iterable[Secret] = ()) -> dict[str, str]:
    """
    *environ* without API keys.

    Left out are variables whose names end like those of keys (``..._API_KEY``), those that the catalogue knows to
    hold a secret of a vendor, and those that hold one of *secrets*.
    """
    known = _key_variables()
    hidden = [text for text in (secret.reveal() for secret in secrets) if len(text) >= _SHORTEST_SECRET]
    return {
        name: value
        for name, value in environ.items()
        if not (name in known or _KEY_NAMES.fullmatch(name) or any(secret in value for secret in hidden))
    }


def _key_variables() -> frozenset[str]:
    presets = catalog().presets.values()
    return frozenset(
        name for preset in presets for name in (*preset.key_env, *preset.bearer_env, *preset.other_key_env)
    )
