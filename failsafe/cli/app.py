"""The group of commands, and how an error is shown."""

from __future__ import annotations

import sys
from typing import Any

import click

from failsafe import __version__
from failsafe.cli.chat import chat
from failsafe.cli.check import check
from failsafe.cli.demo import demo
from failsafe.cli.sim import sim
from failsafe.errors import ConfigError, FailsafeError

_INTERRUPTED = 130  # 128 + SIGINT, as shells have it


class _Commands(click.Group):
    """Shows failsafe's own errors as their message: exits with 1 for a failed call, 2 for a wrong setting."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except FailsafeError as error:
            click.echo(f"{type(error).__name__}: {error}", err=True)
            sys.exit(2 if isinstance(error, ConfigError) else 1)
        except KeyboardInterrupt:
            sys.exit(_INTERRUPTED)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="failsafe %(version)s")
def app() -> None:
    """Send chat requests to the best provider that works right now."""


for command in (chat, check, demo, sim):
    app.add_command(command)
