"""The group of commands, and how an error is shown."""

from __future__ import annotations

import errno
import logging
import sys
from collections import UserDict
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import click

from failsafe import __version__
from failsafe.errors import ConfigError, FailsafeError, ProviderFault, StoreUnavailable

COMMANDS = (
    "breakers",
    "chat",
    "check",
    "completion",
    "cost",
    "demo",
    "doctor",
    "export",
    "health",
    "history",
    "providers",
    "serve",
    "sim",
    "status",
    "store",
    "tail",
)
"""Each is the command of this name in the module of this name, which is loaded when it is needed."""

_INTERRUPTED = 130  # 128 + SIGINT, as shells have it

if find_spec("rich") is None:  # found out here, as no command is loaded yet
    raise ModuleNotFoundError("No module named 'rich'", name="rich")


class _OnDemand(UserDict[str, Any]):
    """Commands by name; each is loaded when it is asked for, as a key pressed for completion waits for the loading."""

    def __getitem__(self, name: str) -> click.Command:
        command = self.data[name]
        if command is None:
            command = self.data[name] = getattr(import_module(f"failsafe.cli.{name}"), name)
        assert isinstance(command, click.Command)  # noqa: S101 -- a mistake of ours
        return command


class _Commands(click.Group):
    """Shows errors as their message and exits with the code that docs/cli.md states."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            with _own_words_only():
                return super().invoke(ctx)
        except FailsafeError as error:
            click.echo(f"{type(error).__name__}: {error}", err=True)
            sys.exit(2 if _asked_wrongly(error) else 1)
        except OSError as error:
            if error.errno == errno.EPIPE:
                raise  # click ends quietly when nobody reads on
            name = f"{error.filename}: " if error.filename else ""
            click.echo(f"Error: {name}{error.strerror or error}", err=True)
            sys.exit(1)
        except KeyboardInterrupt:
            if sys.stderr is not None and sys.stderr.isatty():
                click.echo(err=True)  # the terminal has written ^C and left the line open
            sys.exit(_INTERRUPTED)


def _asked_wrongly(error: FailsafeError) -> bool:
    """Whether the settings or the request were refused before anything was sent, or there was nothing to read."""
    unsent = isinstance(error, ProviderFault) and error.provider is None and not error.attempts
    return unsent or isinstance(error, (ConfigError, StoreUnavailable))


@contextmanager
def _own_words_only() -> Iterator[None]:
    """Keep log records off the terminal: what they say is in the answers, receipts and pictures already."""
    logger = logging.getLogger("failsafe")
    propagated = logger.propagate
    logger.propagate = False
    try:
        yield
    finally:
        logger.propagate = propagated


@click.group(
    cls=_Commands, commands=_OnDemand.fromkeys(COMMANDS), context_settings={"help_option_names": ["-h", "--help"]}
)
@click.version_option(__version__, message="failsafe %(version)s")
def app() -> None:
    """
    Send chat requests to the best LLM provider that works right now.

    Begin with `failsafe demo`, which needs no key and no network. For real calls, export a
    provider's key (OPENAI_API_KEY, ANTHROPIC_API_KEY, ...) or write a failsafe.toml, look it over
    with `failsafe check`, and ask with `failsafe chat`. What the programs of this machine do is shown by
    `failsafe status`, `tail` and `history`; when something does not work, `failsafe doctor` says why.

    Exit codes: 0 all went well, 1 a call or a check failed, 2 wrong settings or arguments,
    130 interrupted.
    """
