"""``failsafe serve``: a gateway on this machine, for programs that speak OpenAI's or Anthropic's API."""

from __future__ import annotations

import logging
import os
import secrets
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from failsafe.addresses import is_loopback, parse
from failsafe.cli.output import let_readers_go_on, print_json
from failsafe.cli.settings import config_option, load
from failsafe.cli.signals import until_stopped, wait
from failsafe.config import RouterConfig
from failsafe.errors import ConfigError
from failsafe.gateway import Gateway
from failsafe.router import Router

if TYPE_CHECKING:
    from failsafe.gateway.server import GatewayServer

_TOKEN_ENV = "FAILSAFE_SERVE_TOKEN"  # noqa: S105 - the name of a variable
_GRACE = 10.0
"""Seconds that calls under way are given to end when the gateway is told to stop."""
_A_MOMENT = 0.1
"""Seconds for which waiting is not worth a word."""
_ANYWHERE = ("0.0.0.0", "::")  # noqa: S104 - to be recognised


@click.command(short_help="Answer programs that speak OpenAI's or Anthropic's API.")
@config_option
@click.option("--port", type=click.IntRange(0, 65_535), default=8080, show_default=True, metavar="PORT",
              help="The port; 0 takes a free one.")  # fmt: skip
@click.option("--host", default="127.0.0.1", show_default=True, metavar="ADDRESS",
              help="The address to listen on; all but this machine's own need --allow-remote.")  # fmt: skip
@click.option("--allow-remote", is_flag=True,
              help="Let other machines in: unencrypted, and only the token keeps them from your money.")  # fmt: skip
@click.option("--allow-host", "hosts", multiple=True, metavar="NAME",
              help="A name that clients call this machine by, beside localhost; may be repeated.")  # fmt: skip
@click.option("--token-env", metavar="NAME",
              help=f"The variable that holds the token; else {_TOKEN_ENV}, else a new one is made.")  # fmt: skip
@click.option("--threads", type=click.IntRange(1, 512), default=32, show_default=True, metavar="N",
              help="How many requests are answered at once.")  # fmt: skip
@click.option("--on-interrupt", type=click.Choice(["raise", "continue"]), default="raise", show_default=True,
              help="What becomes of a streamed answer that breaks off.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print the addresses and the token as JSON, not as exports.")
@click.option("--access-log", is_flag=True, help="Write a line for each request to standard error.")
def serve(
    path: Path | None,
    port: int,
    host: str,
    allow_remote: bool,
    hosts: tuple[str, ...],
    token_env: str | None,
    threads: int,
    on_interrupt: str,
    as_json: bool,
    access_log: bool,
) -> None:
    """
    Run a gateway on this machine until Ctrl+C.

    Programs that speak OpenAI's chat completions or Anthropic's messages are answered by whichever
    provider works. Standard output gets the variables that lead them here:

    \b
      eval "$(failsafe serve &)"
    """  # noqa: D301 - click's mark for lines to be left as they are
    _check_host(host, allow_remote=allow_remote)
    config = load(path)
    name, token = _token(token_env)
    with Router(config) as router:
        gateway = Gateway(
            router,
            token,
            hosts=(*hosts, *(() if host in _ANYWHERE else (host,))),
            any_address=not is_loopback(host),
            on_interrupt="continue" if on_interrupt == "continue" else "raise",
        )
        with until_stopped() as stopped, _logging(shown=access_log):
            server = _listening(gateway, host, port, threads)
            try:
                _refuse_itself(config, server)
                _introduce(server, router, name, token, remote=not is_loopback(host), as_json=as_json)
                wait(stopped, lambda: server.is_alive)
                _let_end(server)
            finally:  # whatever interrupts, even the wait for the calls: the router's own end waits for them
                server.cancel()
                server.stop()
        if not stopped.is_set():
            raise click.ClickException("the gateway's loop has ended by itself; start it again")


def _check_host(host: str, *, allow_remote: bool) -> None:
    if not is_loopback(host) and not allow_remote:
        raise click.UsageError(
            f"--host {host} lets other machines in: unencrypted, and only the token keeps them from your money. "
            "Add --allow-remote if you mean it, or put a server with TLS in front of 127.0.0.1"
        )


def _token(named: str | None) -> tuple[str | None, str]:
    """The variable that holds the token, if one does, and the token."""
    name = named or _TOKEN_ENV
    token = os.environ.get(name, "")
    if token:
        return name, token
    if named or name in os.environ:
        raise ConfigError(
            f"{name}: the variable is {'empty' if name in os.environ else 'not set'}; put the token there"
        )
    return None, secrets.token_urlsafe(32)


def _listening(gateway: Gateway, host: str, port: int, threads: int) -> GatewayServer:
    try:
        from failsafe.gateway.server import GatewayServer
    except ModuleNotFoundError as error:
        missing = error.name
    else:
        try:
            return GatewayServer(gateway, host=host, port=port, threads=threads)
        except OSError as error:
            # Looked up again, as Python adds the address to the words of some, and the resolver has numbers of its own.
            number = error.errno or 0
            reason = os.strerror(number) if number > 0 else error.strerror or str(error)
        raise click.UsageError(f"cannot listen on {host}, port {port} ({reason})")
    raise click.ClickException(f"failsafe serve needs {missing}; pip install 'failsafe-llm[serve]'")


def _refuse_itself(config: RouterConfig, server: GatewayServer) -> None:
    """In a shell that was told to use the gateway, the gateway would be told to use itself."""
    for provider in config.providers:
        address = parse(f"providers.{provider.name}.base_url", provider.base_url)
        if is_loopback(address.host) and address.port == server.port:
            raise ConfigError(
                f"providers.{provider.name}.base_url = {provider.base_url!r} is this gateway itself; "
                "start it where OPENAI_BASE_URL and ANTHROPIC_BASE_URL are not set to it"
            )


def _introduce(
    server: GatewayServer, router: Router, variable: str | None, token: str, *, remote: bool, as_json: bool
) -> None:
    """Tell where the gateway is; a token that lies in a *variable* is not shown, that variable is."""
    if as_json:
        print_json(
            {
                "openai_base_url": f"{server.url}/v1",
                "anthropic_base_url": server.url,
                "token": token if variable is None else None,
                "token_env": variable,
                "providers": router.providers,
                "pid": os.getpid(),
            }
        )
    else:
        shown = shlex.quote(token) if variable is None else f'"${variable}"'
        click.echo(f"export OPENAI_BASE_URL={server.url}/v1")
        click.echo(f"export OPENAI_API_KEY={shown}")
        click.echo(f"export ANTHROPIC_BASE_URL={server.url}")
        click.echo(f"export ANTHROPIC_API_KEY={shown}")
    let_readers_go_on()
    if remote:
        click.echo(
            "other machines can reach this gateway, unencrypted; whoever has the token spends your money", err=True
        )
    click.echo(f"{server.url} is answered by {', '.join(router.providers)}", err=True)
    click.echo(f"Ctrl+C or kill {os.getpid()} stops it", err=True)


def _let_end(server: GatewayServer) -> None:
    if not server.drain(_A_MOMENT):
        click.echo(f"calls under way have {_GRACE:g} s to end; Ctrl+C again ends them at once", err=True)
    server.stop(_GRACE)


@contextmanager
def _logging(*, shown: bool) -> Iterator[None]:
    """Requests on standard error if *shown*; of the server below, nothing: what goes wrong is in the answers."""
    requests, below = logging.getLogger("failsafe.gateway"), logging.getLogger("waitress")
    line, silence = logging.StreamHandler(sys.stderr), logging.NullHandler()
    line.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    level = requests.level
    below.addHandler(silence)
    if shown:
        requests.addHandler(line)
        requests.setLevel(logging.INFO)
    try:
        yield
    finally:
        requests.removeHandler(line)
        requests.setLevel(level)
        below.removeHandler(silence)
