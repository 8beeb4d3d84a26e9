"""Commands that have commands of their own."""

from __future__ import annotations

import click


class WithDefault(click.Group):
    """A group whose first command is meant where none is named."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put the first command before what are options of its."""
        options_only = not args or (args[0].startswith("-") and args[0] not in ctx.help_option_names)
        if options_only and not ctx.resilient_parsing:  # a completion is to offer the commands
            args = [next(iter(self.commands)), *args]
        return super().parse_args(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 -- click's
        """The commands in their own order."""
        return list(self.commands)
