"""``failsafe health``: does each provider work right now?"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import click
import msgspec
from rich.table import Table
from rich.text import Text

from failsafe.checks import close_names
from failsafe.cli.names import complete_provider
from failsafe.cli.numbers import SECONDS
from failsafe.cli.output import clean, console, in_terminal, json_option, print_json
from failsafe.cli.settings import config_option, load
from failsafe.cli.status_view import milliseconds
from failsafe.config import RouterConfig
from failsafe.deadline import CancelToken
from failsafe.errors import FailsafeError
from failsafe.monitoring_config import PROBE_KINDS
from failsafe.router import Router

_AT_ONCE = 16
_STYLES = {"ok": "green", "down": "bold red", "failed": "yellow", "off": "dim", "not asked": "yellow"}


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """
    What one probe found.

    Attributes:
        result: ``ok``; ``down``: it failed, and that speaks against the provider; ``failed``: for another reason (a
            rejected key, a wrong address, this machine's network); ``not asked``: something on this side kept it from
            being asked; ``off``: its settings say that it is not probed.
        kind: ``models``, ``completion`` or ``connect``; "" if it was not asked.
    """

    provider: str
    result: str
    kind: str = ""
    fault: str | None = None
    status: int | None = None
    reason: str = ""
    latency_ms: float | None = None


@click.command(short_help="Probe every provider now.")
@click.argument("providers", nargs=-1, metavar="[PROVIDER]...", shell_complete=complete_provider)
@config_option
@click.option("-k", "--kind", type=click.Choice([kind for kind in PROBE_KINDS if kind != "off"]),
              help="What is asked; else what the settings say, else models.")  # fmt: skip
@click.option("-t", "--timeout", type=SECONDS, metavar="SECONDS",
              help="For each probe; else what the settings say, else 10.")  # fmt: skip
@json_option
def health(
    providers: tuple[str, ...], path: Path | None, kind: str | None, timeout: float | None, as_json: bool
) -> None:
    """
    Probe each PROVIDER (all of them by default) now, all at once: the free list of models, one token of a completion
    (which costs a little), or a connection alone.

    Exits with 1 if one is down or cannot be used, and with 2 if the settings are wrong.
    """
    config = load(path)
    asked = _chosen(config, providers)
    results = _probed(config, asked, kind, timeout)
    if as_json:
        print_json(results)
    else:
        _show(results)
    sys.exit(any(each.result not in ("ok", "off") for each in results))


def _chosen(config: RouterConfig, named: Sequence[str]) -> list[str]:
    known = [provider.name for provider in config.providers if provider.enabled]
    for name in named:
        if name not in known:
            close = close_names(name, known, most=3)
            guess = f"did you mean {' or '.join(close)}?" if close else f"there are {', '.join(known)}"
            raise click.UsageError(f"{name!r} is no provider that is switched on: {guess}")
    return list(dict.fromkeys(named)) or known


def _probed(config: RouterConfig, asked: Sequence[str], kind: str | None, timeout: float | None) -> list[Result]:
    """Probe all at once; an interruption ends the probes under way as well."""
    cancel = CancelToken()
    with (
        Router(config) as router,
        ThreadPoolExecutor(min(len(asked), _AT_ONCE), thread_name_prefix="failsafe-health") as pool,
    ):
        try:
            return list(pool.map(lambda name: _probe(router, name, kind, timeout, cancel), asked))
        except BaseException:
            cancel.cancel()
            raise


def _probe(router: Router, name: str, kind: str | None, timeout: float | None, cancel: CancelToken) -> Result:
    if kind is None and _is_off(router.config, name):
        return Result(provider=name, result="off", reason="its settings say that it is not probed")
    try:
        found = router.probe(name, kind, timeout, cancel=cancel)
    except FailsafeError as error:
        return Result(provider=name, result="not asked", reason=clean(str(error)))
    result = "ok" if found.fault is None else "down" if found.blamed else "failed"
    return Result(
        provider=name, result=result, kind=found.kind, fault=found.fault, status=found.status, reason=found.message,
        latency_ms=found.latency_ms,
    )  # fmt: skip


def _is_off(config: RouterConfig, name: str) -> bool:
    provider = next(each for each in config.providers if each.name == name)
    return (provider.probe or config.probe).kind == "off"


def _show(results: Sequence[Result]) -> None:
    if not in_terminal():
        for each in results:
            click.echo(f"{each.result}: {each.provider}: {_told(each)}")
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, overflow="ellipsis")
    table.add_column(justify="right", no_wrap=True)
    table.add_column(overflow="fold")
    for each in results:
        took = milliseconds(each.latency_ms)
        table.add_row(Text(each.result, _STYLES[each.result]), each.provider, took, Text(_reason(each)))
    console().print(table)


def _told(each: Result) -> str:
    took = f" in {milliseconds(each.latency_ms)}" if each.latency_ms is not None else ""
    return f"{_reason(each)}{took}"


def _reason(each: Result) -> str:
    if each.result == "ok":
        return f"{each.kind} answered"
    status = f" (HTTP {each.status})" if each.status and f"{each.status}" not in each.reason else ""
    return clean(f"{each.reason or each.fault}{status}")
