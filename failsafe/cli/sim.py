"""``failsafe sim``: fake providers to try a program against."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from failsafe.cli.signals import until_stopped
from failsafe.sim import SUMMARIES, VENDORS, FakeCloud, FakeProvider, behaviour_named


@click.command()
@click.argument("providers", nargs=-1, metavar="[NAME[=BEHAVIOUR]]...")
@click.option("--list", "list_only", is_flag=True, help="List the vendors and behaviours there are.")
@click.option(
    "--file", "path", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="Read them from TOML."
)
@click.option("--port", type=click.IntRange(1, 65535), help="The first one's port; the others take the next ones.")
@click.option("--toml", is_flag=True, help="Print a failsafe.toml instead of variables to export.")
def sim(providers: tuple[str, ...], list_only: bool, path: Path | None, port: int | None, toml: bool) -> None:
    """
    Run fake providers on this machine until Ctrl+C.

    Each NAME is a vendor (openai, anthropic, gemini, ...), healthy unless a BEHAVIOUR is given:
    failsafe sim openai=hang anthropic. Without a name: openai, anthropic and gemini.
    Standard output gets what a program needs to find them, to be used as eval or as a file.
    """
    if list_only:
        _list()
        return
    if path is not None and providers:
        raise click.UsageError("either names or --file, not both")
    cloud = FakeCloud.from_toml(path.read_text()) if path is not None else _cloud(providers, port)
    with _listening(cloud), until_stopped() as stopped:
        click.echo(cloud.as_toml() if toml else _exports(cloud))
        for provider in cloud:
            click.echo(f"{provider.name} [{provider.dialect}] at {provider.base_url}", err=True)
        click.echo("Ctrl+C stops them", err=True)
        _wait(stopped)


def _cloud(providers: tuple[str, ...], port: int | None) -> FakeCloud:
    made = []
    for number, each in enumerate(providers or ("openai", "anthropic", "gemini")):
        name, _, behaviour = each.partition("=")
        made.append(
            FakeProvider(
                name, behaviour=behaviour_named(behaviour or "healthy"), port=0 if port is None else port + number
            )
        )
    return FakeCloud(made)


@contextmanager
def _listening(cloud: FakeCloud) -> Iterator[None]:
    reason = None
    try:
        cloud.start()
    except OSError as error:
        reason = error.strerror
    if reason:
        ports = ", ".join(f"{provider.name} {provider.port or 'any'}" for provider in cloud)
        raise click.UsageError(f"the fake providers cannot listen ({reason}); ports asked for: {ports}")
    try:
        yield
    finally:
        cloud.stop()


def _exports(cloud: FakeCloud) -> str:
    return "\n".join(f"export {name}={value}" for name, value in cloud.as_environment().items())


def _wait(stopped: threading.Event) -> None:
    while not stopped.wait(1.0):  # in steps, so that Windows sees Ctrl+C
        pass


def _list() -> None:
    click.echo(f"vendors: {', '.join(VENDORS)}\n\nbehaviours:")
    width = max(map(len, SUMMARIES))
    for name, summary in SUMMARIES.items():
        click.echo(f"  {name:<{width}}  {summary}")
