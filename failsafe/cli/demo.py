"""``failsafe demo``: three fake providers, an outage, and what became of the calls."""

from __future__ import annotations

import itertools
import sys
import threading
from collections.abc import Iterator
from typing import NamedTuple

import click
from rich.console import Console
from rich.live import Live
from rich.text import Text

from failsafe.cli.demo_scenario import DEADLINE, PROMPTS, act_at, settings, steps
from failsafe.cli.demo_traffic import Client, the_plain_way, with_failsafe
from failsafe.cli.demo_view import account, figures, picture, standing
from failsafe.cli.numbers import Finite
from failsafe.cli.output import can_redraw, flush, print_json
from failsafe.cli.signals import until_stopped
from failsafe.clock import SYSTEM_CLOCK
from failsafe.events import Event, StateChanged
from failsafe.router import Router
from failsafe.sim import FakeCloud

_TICK = 0.05


@click.command(short_help="Rehearse an outage; needs no key and no network.")
@click.option("--seconds", type=Finite(4, 600), default=24.0, show_default=True, help="How long the play is.")
@click.option("--rate", type=Finite(0.5, 50), default=8.0, show_default=True, help="Prompts a second.")
@click.option("--plain", is_flag=True, help="Print lines instead of a live picture.")
@click.option("--json", "as_json", is_flag=True, help="Print a line of JSON for each act, each move and the account.")
def demo(seconds: float, rate: float, plain: bool, as_json: bool) -> None:
    """
    Rehearse an outage: no key and no network is needed.

    Three fake providers run on this machine. While prompts go through the router, one provider
    after the other fails; a plain client beside it shows what would have been lost. Ctrl+C ends the
    play early, with the account so far. Exits with 1 if a call was lost or late.
    """
    with FakeCloud.of("openai", "anthropic", "gemini") as cloud, Router(settings(cloud, seconds)) as router:
        play = _Play(router, cloud, seconds, rate)
        with until_stopped() as stopped:
            if as_json:
                play.run_in_json(stopped)
            elif plain or not can_redraw():
                play.run_in_lines(stopped)
            else:
                play.run_live(stopped)
        if as_json:
            print_json(figures(router, play.guarded, play.unguarded))
        else:
            click.echo(account(router, play.guarded, play.unguarded))
    sys.exit(1 if play.guarded.score().failed else 0)


class _Moment(NamedTuple):
    elapsed: float
    title: str
    awaited: int = 0
    """Calls that the play only waits for."""

    @property
    def headline(self) -> str:
        calls = "call" if self.awaited == 1 else "calls"
        return f"{self.title}; {self.awaited} {calls} still under way" if self.awaited else self.title


class _Play:
    """The prompts, the scenario and the two clients."""

    def __init__(self, router: Router, cloud: FakeCloud, seconds: float, rate: float) -> None:
        self._router = router
        self._cloud = cloud
        self._seconds = seconds
        self._rate = rate
        self._prompts = itertools.cycle(PROMPTS)
        threads = int(rate * DEADLINE) + 4  # enough for every call of one deadline to hang
        self.guarded = Client(with_failsafe(router), threads, "failsafe-demo")
        self.unguarded = Client(the_plain_way(cloud["openai"]), threads, "plain-demo")

    def run_live(self, stopped: threading.Event) -> None:
        """Play it with a live picture."""
        console = Console(highlight=False)
        with Live(console=console, refresh_per_second=10) as live:
            for moment in self._moments(stopped):
                head = Text.assemble((f"{moment.elapsed:5.1f} s of {self._seconds:g} s  ", "bold"), moment.headline)
                live.update(picture(head, self._router, self.guarded, self.unguarded, console.size))

    def run_in_lines(self, stopped: threading.Event) -> None:
        """Play it with a line for each act and each breaker's move."""
        end = self._router.on_event(_print_move, sync=True)
        shown = ""
        for moment in self._moments(stopped):
            if moment.title != shown:
                if shown:
                    click.echo(f"         {standing(self.guarded, self.unguarded)}")
                click.echo(f"{moment.elapsed:5.1f} s  {moment.title}")
                shown = moment.title
        end()
        click.echo()

    def run_in_json(self, stopped: threading.Event) -> None:
        """Play it with a line of JSON for each act and each breaker's move."""
        end = self._router.on_event(_print_move_as_json, sync=True)
        shown = ""
        for moment in self._moments(stopped):
            if moment.title != shown:
                print_json({"act": moment.title, "elapsed": round(moment.elapsed, 3)})
                flush()
                shown = moment.title
        end()

    def _moments(self, stopped: threading.Event) -> Iterator[_Moment]:
        """Send the prompts when they are due, and wait for their calls to end."""
        self._cloud.schedule(steps(self._seconds))
        began, elapsed = SYSTEM_CLOCK.monotonic(), 0.0
        while elapsed < self._seconds and not stopped.is_set():
            yield _Moment(elapsed, act_at(elapsed / self._seconds).title)
            stopped.wait(_TICK)
            elapsed = min(SYSTEM_CLOCK.monotonic() - began, self._seconds)
            self._send_what_is_due(elapsed)
        yield from self._ending(_Moment(elapsed, "stopped" if stopped.is_set() else act_at(1).title))

    def _send_what_is_due(self, elapsed: float) -> None:
        while self.guarded.sent < elapsed * self._rate:
            prompt = next(self._prompts)
            self.guarded.send(prompt)
            self.unguarded.send(prompt)

    def _ending(self, last: _Moment) -> Iterator[_Moment]:
        """Wait for the calls under way, each of which ends by its deadline."""
        never = threading.Event()
        while under_way := self.guarded.score().under_way + self.unguarded.score().under_way:
            yield last._replace(awaited=under_way)
            SYSTEM_CLOCK.wait(never, _TICK)
        for client in (self.guarded, self.unguarded):
            client.finish()
        yield last


def _print_move_as_json(event: Event) -> None:
    if isinstance(event, StateChanged):
        print_json({"breaker": event.name, "old": event.old, "new": event.new, "reason": event.reason})


def _print_move(event: Event) -> None:
    if isinstance(event, StateChanged):
        click.echo(f"         breaker of {event.name}: {event.old} -> {event.new} ({event.reason})")
