"""``failsafe demo``: three fake providers, an outage, and what became of the calls."""

from __future__ import annotations

import itertools
import logging
import sys
import threading
from collections.abc import Iterator

import click
from rich.console import Console
from rich.live import Live

from failsafe.cli.demo_scenario import DEADLINE, PROMPTS, act_at, settings, steps
from failsafe.cli.demo_traffic import Client, the_plain_way, with_failsafe
from failsafe.cli.demo_view import account, picture
from failsafe.cli.signals import until_stopped
from failsafe.clock import SYSTEM_CLOCK
from failsafe.events import Event, StateChanged
from failsafe.router import Router
from failsafe.sim import FakeCloud

_TICK = 0.05
_LATE = 0.05  # seconds after the deadline that still count as in time


@click.command()
@click.option("--seconds", type=click.FloatRange(4, 600), default=24.0, show_default=True, help="How long the play is.")
@click.option("--rate", type=click.FloatRange(0.5, 50), default=8.0, show_default=True, help="Prompts a second.")
@click.option("--plain", is_flag=True, help="Print lines instead of a live picture.")
def demo(seconds: float, rate: float, plain: bool) -> None:
    """
    Rehearse an outage: no key and no network is needed.

    Three fake providers run on this machine. While prompts go through the router, one provider
    after the other fails; a plain client beside it shows what would have been lost. Exits with 1
    if a call was lost or late.
    """
    logging.getLogger("failsafe").addHandler(logging.NullHandler())
    logging.getLogger("failsafe").propagate = False  # the picture tells it; records would tear it up
    console = Console()
    with FakeCloud.of("openai", "anthropic", "gemini") as cloud, Router(settings(cloud)) as router:
        play = _Play(router, cloud, seconds, rate)
        with until_stopped() as stopped:
            if plain or not console.is_terminal:
                play.run_in_lines(stopped)
            else:
                play.run_live(stopped, console)
        click.echo(account(router, play.guarded, play.unguarded))
    in_time = play.guarded.slowest <= DEADLINE + _LATE
    sys.exit(0 if in_time and not play.guarded.lost else 1)


class _Play:
    """The prompts, the scenario and the two clients."""

    def __init__(self, router: Router, cloud: FakeCloud, seconds: float, rate: float) -> None:
        self._router = router
        self._cloud = cloud
        self._seconds = seconds
        self._rate = rate
        self._prompts = itertools.cycle(PROMPTS)
        threads = min(64, int(rate * DEADLINE) + 4)  # enough for every call of one deadline to hang
        self.guarded = Client(with_failsafe(router), threads, "failsafe-demo")
        self.unguarded = Client(the_plain_way(cloud["openai"]), threads, "plain-demo")

    def run_live(self, stopped: threading.Event, console: Console) -> None:
        """Play it with a live picture."""
        with Live(console=console, refresh_per_second=10) as live:
            for elapsed in self._moments(stopped):
                title = act_at(elapsed / self._seconds).title
                live.update(picture(title, elapsed, self._seconds, self._router, self.guarded, self.unguarded))

    def run_in_lines(self, stopped: threading.Event) -> None:
        """Play it with a line for each act and each breaker's move."""
        end = self._router.on_event(_print_move, sync=True)
        title = ""
        for elapsed in self._moments(stopped):
            now = act_at(elapsed / self._seconds).title
            if now != title:
                title = now
                click.echo(f"{elapsed:5.1f} s  {title}")
        end()

    def _moments(self, stopped: threading.Event) -> Iterator[float]:
        """Send the prompts when they are due; yields the seconds since the start until every call has ended."""
        self._cloud.schedule(steps(self._seconds))
        began, elapsed = SYSTEM_CLOCK.monotonic(), 0.0
        while elapsed < self._seconds and not stopped.wait(_TICK):
            elapsed = SYSTEM_CLOCK.monotonic() - began
            while self.guarded.sent < elapsed * self._rate:
                prompt = next(self._prompts)
                self.guarded.send(prompt)
                self.unguarded.send(prompt)
            yield elapsed
        for client in (self.guarded, self.unguarded):
            client.finish()
        yield self._seconds


def _print_move(event: Event) -> None:
    if isinstance(event, StateChanged):
        click.echo(f"         breaker of {event.name}: {event.old} -> {event.new} ({event.reason})")
