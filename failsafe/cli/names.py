"""Names that the shell completes: cheaply, and without a word when that is not possible."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import click


def complete_provider(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """
    The providers of the settings and of the store whose names begin with *incomplete*.

    A key that was pressed waits for this: of the settings file the names alone are read, no key is looked up, and
    nobody is asked.
    """
    path, store = ctx.params.get("path"), ctx.params.get("store_path")
    taken = ctx.params.get(param.name or "") or ()
    found = {*_of_settings(path), *_of_store(path, store)} - set(taken if isinstance(taken, tuple) else ())
    return sorted(name for name in found if name.startswith(incomplete) and name.isprintable())


def _of_settings(path: Path | None) -> Iterator[str]:
    from failsafe import loader

    with suppress(Exception):  # whatever is wrong with the settings: a command says it, a completion cannot
        table = loader.load_table(path)
        if table:
            yield from table.get("providers", {})
        else:
            yield from (provider.name for provider in loader.from_env().providers)


def _of_store(path: Path | None, store: Path | None) -> Iterator[str]:
    from failsafe import loader
    from failsafe.telemetry import database
    from failsafe.telemetry.location import explain

    with suppress(Exception):  # as above
        file = store if store is not None else explain(loader.load_store(path)).path
        if file is not None:
            with closing(database.connect(file, read_only=True, timeout=0.2)) as connection:
                yield from (name for (name,) in connection.execute("SELECT DISTINCT name FROM targets"))
