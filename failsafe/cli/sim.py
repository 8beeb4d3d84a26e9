"""``failsafe sim``: fake providers to try a program against."""

from __future__ import annotations

import os
import re
import shlex
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import click

from failsafe.checks import did_you_mean
from failsafe.cli.output import let_readers_go_on, print_json
from failsafe.cli.signals import until_stopped, wait
from failsafe.errors import ConfigError
from failsafe.sim import BEHAVIOURS, SUMMARIES, VENDORS, FakeCloud, FakeProvider

_USUAL = ("openai", "anthropic", "gemini")
_LAST_PORT = 65_535


@click.command(short_help="Run fake providers on this machine until Ctrl+C.")
@click.argument("providers", nargs=-1, metavar="[NAME[=BEHAVIOUR]]...")
@click.option("--list", "list_only", is_flag=True, help="List the vendors and behaviours there are.")
@click.option(
    "--file", "path", type=click.Path(path_type=Path, exists=True, dir_okay=False), metavar="FILE",
    help="Read the providers from TOML, with schedules if you like.",
)  # fmt: skip
@click.option(
    "--port", type=click.IntRange(1, _LAST_PORT), metavar="PORT",
    help="The first one's port; the others take the next ones. Without it, any free ones.",
)  # fmt: skip
@click.option("--toml", is_flag=True, help="Print a failsafe.toml instead of variables to export.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead: names, dialects, addresses and keys.")
def sim(
    providers: tuple[str, ...], list_only: bool, path: Path | None, port: int | None, toml: bool, as_json: bool
) -> None:
    """
    Run fake providers on this machine until Ctrl+C.

    Each NAME is a vendor (openai, anthropic, gemini, ...), healthy unless a BEHAVIOUR is given:
    failsafe sim openai=hang anthropic. Without a name: openai, anthropic and gemini.

    Standard output gets what a program needs to find them:

    \b
      eval "$(failsafe sim &)"                          variables, in this shell
      (umask 077; failsafe sim --toml > fakes.toml) &   a file for --config
    """  # noqa: D301 - click's mark for lines to be left as they are
    if toml and as_json:
        raise click.UsageError("--toml and --json are two forms of the same: choose one")
    if list_only:
        _list(as_json=as_json)
        return
    if path is not None and (providers or port):
        raise click.UsageError("--file says it all: give neither names nor --port with it")
    cloud = _from_file(path) if path is not None else _cloud(providers or _USUAL, port)
    with until_stopped() as stopped, _listening(cloud):
        if toml:
            click.echo(cloud.as_toml(), nl=False)
        elif as_json:
            print_json([_as_json(provider) for provider in cloud])
        else:
            _export(cloud)
        let_readers_go_on()
        for provider in cloud:
            click.echo(f"{provider.name} [{provider.dialect}] at {provider.base_url}", err=True)
        click.echo(f"Ctrl+C or kill {os.getpid()} stops them", err=True)
        wait(stopped)


def _from_file(path: Path) -> FakeCloud:
    try:
        return FakeCloud.from_toml(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        problem = f"this is not UTF-8 (byte {error.start + 1})"
    except ConfigError as error:
        problem = str(error)
    raise ConfigError(f"{path}: {problem}")


def _cloud(named: tuple[str, ...], port: int | None) -> FakeCloud:
    if port is not None and port + len(named) - 1 > _LAST_PORT:
        raise click.UsageError(f"--port {port} leaves too few ports for {len(named)} providers")
    twice = [name for name, count in Counter(each.partition("=")[0] for each in named).items() if count > 1]
    if twice:
        raise click.UsageError(f"{twice[0]} is named twice; a --file can have several of one vendor")
    ports = [0] * len(named) if port is None else range(port, port + len(named))
    return FakeCloud([_provider(each, at) for each, at in zip(named, ports, strict=True)])


def _provider(named: str, port: int) -> FakeProvider:
    name, _, behaviour = named.partition("=")
    if name not in VENDORS:
        _refuse("vendor", name, VENDORS, "; names of your own go in a --file")
    if behaviour and behaviour not in BEHAVIOURS:
        _refuse("behaviour", behaviour, BEHAVIOURS)
    return FakeProvider(name, behaviour=BEHAVIOURS[behaviour or "healthy"], port=port)


def _refuse(what: str, given: str, known: Iterable[str], advice: str = "") -> NoReturn:
    raise click.UsageError(
        f"{given!r} is no {what}: {did_you_mean(given, known)}failsafe sim --list names all there are{advice}"
    )


@contextmanager
def _listening(cloud: FakeCloud) -> Iterator[None]:
    reason = None
    try:
        cloud.start()
    except OSError as error:
        reason = error.strerror or str(error)
    if reason:
        ports = ", ".join(f"{provider.name} {provider.port or 'any'}" for provider in cloud)
        raise click.UsageError(f"the fake providers cannot listen ({reason}); ports asked for: {ports}")
    try:
        yield
    finally:
        cloud.stop()


def _export(cloud: FakeCloud) -> None:
    variables = cloud.as_environment()
    for name, value in variables.items():
        click.echo(f"export {name}={shlex.quote(value)}")
    found = "\n".join(variables.values())
    unreachable = [provider.name for provider in cloud if not re.search(rf"127\.0\.0\.1:{provider.port}\b", found)]
    if unreachable:
        click.echo(f"no variable leads to {', '.join(unreachable)}: use --toml", err=True)


def _as_json(provider: FakeProvider) -> dict[str, str]:
    return {
        "name": provider.name,
        "dialect": provider.dialect,
        "base_url": provider.base_url,
        "api_key": provider.key,
    }


def _list(*, as_json: bool) -> None:
    if as_json:
        print_json({"vendors": [*VENDORS], "behaviours": dict(SUMMARIES)})
        return
    click.echo(f"vendors:\n  {', '.join(VENDORS)}\n\nbehaviours:")
    width = max(map(len, SUMMARIES))
    for name, summary in SUMMARIES.items():
        click.echo(f"  {name:<{width}}  {summary}")
