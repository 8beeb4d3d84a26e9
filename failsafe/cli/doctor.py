"""``failsafe doctor``: what is wrong, why, and what to do about it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import msgspec

from failsafe.cli.doctor_view import show
from failsafe.cli.names import complete_provider
from failsafe.cli.numbers import SECONDS
from failsafe.cli.settings import config_option
from failsafe.diagnosis.examination import TIMEOUT, Report, Wanted, examine
from failsafe.diagnosis.facts import Exchanged, ProviderFacts
from failsafe.errors import ConfigError


@click.command(short_help="Find out what is wrong, and what to do about it.")
@click.argument("providers", nargs=-1, metavar="[PROVIDER]...", shell_complete=complete_provider)
@config_option
@click.option("--offline", is_flag=True, help="Ask nobody: look at the settings, this machine and the store alone.")
@click.option("--completion", is_flag=True, help="Also ask each provider for one short answer (costs a few tokens).")
@click.option(
    "-t", "--timeout", type=SECONDS, default=TIMEOUT, show_default=True, metavar="SECONDS", help="For each step."
)
@click.option("-v", "--verbose", is_flag=True, help="Show what is right, too.")
@click.option("--json", "as_json", is_flag=True, help="Print everything that was found as one JSON object.")
def doctor(
    providers: tuple[str, ...],
    path: Path | None,
    offline: bool,
    completion: bool,
    timeout: float,
    verbose: bool,
    as_json: bool,
) -> None:
    """
    Find out what is wrong, and what to do about it.

    Looks at the settings and keys, at this machine, at the store with what running programs recorded
    in it, and at the way to each PROVIDER (all that are configured; others of the catalogue may be
    named): its name, connection, TLS, proxy, key and models. Only the free list of models is asked for.

    Exits with 0 if nothing is wrong, with 1 if something is (warnings do not count), with 2 if the
    settings cannot be used; the rest is looked at all the same.
    """
    wanted = Wanted(path=path, providers=providers, offline=offline, completion=completion, timeout=timeout)
    try:
        report = examine(wanted, began=_say_who_is_asked)
    except ConfigError as error:
        raise click.UsageError(str(error)) from None
    if as_json:
        click.echo(msgspec.json.encode(as_object(report)))
    else:
        show(report, wanted, verbose=verbose)
    sys.exit(report.exit_code)


def _say_who_is_asked(names: Sequence[str]) -> None:
    if sys.stderr is not None and sys.stderr.isatty():
        click.echo(f"looking at {', '.join(names)} ...", err=True)


def as_object(report: Report) -> dict[str, Any]:
    """*report* for programs; ``docs/cli.md`` lists the fields."""
    return {
        "version": report.version,
        "at": report.at,
        "settings": report.origin,
        "exit_code": report.exit_code,
        "findings": [msgspec.to_builtins(finding) for finding in report.findings],
        "providers": [_provider(facts) for facts in report.providers],
        "machine": msgspec.to_builtins(report.machine),
        "store": {
            "path": report.store.path,
            "exists": report.store.exists,
            "bytes": report.store.bytes,
            "max_bytes": report.store.max_bytes,
            "processes_alive": sum(process.alive for process in report.store.processes),
        },
    }


def _provider(facts: ProviderFacts) -> dict[str, Any]:
    asked = [*facts.exchanges, *([facts.completion] if facts.completion is not None else [])]
    return {
        "name": facts.name,
        "configured": facts.configured,
        "base_url": facts.config.base_url,
        "proxy": facts.route.setting or None,
        "lookup": msgspec.to_builtins(facts.lookup),
        "connections": msgspec.to_builtins(facts.connections),
        "tls": msgspec.to_builtins(facts.handshake),
        "asked": [_exchange(each) for each in asked],
        "models": facts.models,
    }


def _exchange(exchanged: Exchanged) -> dict[str, Any]:
    failure = exchanged.failure
    return {
        "asked": exchanged.asked,
        "key": exchanged.key.fingerprint if exchanged.key is not None else None,
        "status": exchanged.status,
        "fault": str(failure.fault) if failure is not None else None,
        "phase": str(failure.phase) if failure is not None else None,
        "seconds": round(exchanged.seconds, 6),
    }
