"""``failsafe completion``: what makes the shell complete commands, options and providers."""

from __future__ import annotations

import click
from click.shell_completion import ShellComplete, get_completion_class

_VARIABLE = "_FAILSAFE_COMPLETE"


@click.command(short_help="Print what makes your shell complete this command.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """
    Print a script that makes SHELL complete commands, options and names of providers.

    \b
      eval "$(failsafe completion bash)"      in ~/.bashrc
      eval "$(failsafe completion zsh)"       in ~/.zshrc, after compinit
      failsafe completion fish | source       in ~/.config/fish/config.fish
    """  # noqa: D301 - click's mark for lines to be left as they are
    from failsafe.cli.app import app

    kind = get_completion_class(shell)
    assert kind is not None  # noqa: S101 -- those of the choice are click's own
    click.echo(ShellComplete.source(kind(app, {}, "failsafe", _VARIABLE)))  # bash's own would start a bash
