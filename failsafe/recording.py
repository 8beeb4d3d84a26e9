"""Connects a router to the store: what it records, and what other programs may ask of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from failsafe.clock import Clock
from failsafe.config import ProviderConfig, RouterConfig
from failsafe.endpoint import Endpoint
from failsafe.events import CommandCarriedOut
from failsafe.models import ChatRequest, Reply
from failsafe.monitoring_config import MonitorConfig
from failsafe.replies import AnyReply
from failsafe.telemetry.location import locate
from failsafe.telemetry.reporter import Reporter
from failsafe.weakly import weakly

if TYPE_CHECKING:
    from failsafe.telemetry.batch import Batch
    from failsafe.telemetry.commands import Command
    from failsafe.telemetry.records import Source, TargetInfo
    from failsafe.telemetry.store import Store


class Recording:
    """
    What one router has to do with the store. Thread-safe.

    The store knows it weakly, so that a router that is dropped stops recording.

    Args:
        store: Where it records.
        config: The router's settings.
        endpoints: Its providers.
        number: The router's number within the process.
        reporter: Where the router's events go.
        clock: The source of time.

    Attributes:
        store: Where it records.
        keeps_texts: Whether prompts and answers are kept, too.
    """

    def __init__(
        self,
        store: Store,
        config: RouterConfig,
        endpoints: Sequence[Endpoint],
        number: int,
        reporter: Reporter,
        clock: Clock,
    ) -> None:
        self.store = store
        self.keeps_texts = store.config.texts
        if config.monitor != MonitorConfig():  # a router without a word on it leaves another's in force
            store.judge_by(config.monitor)
        self._endpoints = endpoints
        self._reporter = reporter
        self._clock = clock
        self._recorder = store.recorder(
            targets(config),
            carry_out=weakly(self._carry_out, otherwise=None),
            look=weakly(self._look, otherwise=None),
            router=number,
        )
        reporter.record = self._recorder.record

    def watched(self, config: MonitorConfig, intervals: Mapping[str, float]) -> None:
        """
        Have uptime reckoned as a monitor with a *config* of its own does.

        Args:
            config: Its settings.
            intervals: Seconds between two probes of each provider.
        """
        self.store.judge_by(config)
        for name, seconds in intervals.items():
            self._recorder.source.probe_every(name, seconds)

    def close(self) -> None:
        """Record nothing more, and let the store write what is left, for a second at most."""
        self._reporter.record = None
        self._recorder.close()

    def keep_texts(self, at: float, call_id: str, request: ChatRequest, reply: AnyReply | None) -> None:
        """Record what was asked and answered in a call that ended *at*; vectors are no texts."""
        from failsafe.telemetry.texts import call_texts  # hardly anybody keeps them

        answer = reply.content if isinstance(reply, Reply) else None
        self._recorder.record(call_texts(at, call_id, request.messages, answer))

    def _look(self, batch: Batch, source: Source) -> None:
        for endpoint in self._endpoints:
            for breaker in endpoint.admission.all_breakers:
                batch.breaker_snapshot(
                    source, breaker.name, breaker.stats(), breaker.config.failure_threshold, self._clock.time()
                )

    def _carry_out(self, command: Command) -> str | None:
        meant = [each for each in self._endpoints if command.concerns(each.name, each.config.base_url)]
        if not meant:
            return None
        outcome = ", ".join(f"{each.name}: {_done(each, command)}" for each in meant)
        self._reporter.emit(
            CommandCarriedOut(
                at=self._clock.time(),
                action=command.action,
                provider="" if command.target == "*" else command.target,
                origin=command.origin,
                outcome=outcome,
            )
        )
        return outcome


def recording(
    config: RouterConfig, endpoints: Sequence[Endpoint], number: int, reporter: Reporter, clock: Clock
) -> Recording | None:
    """
    Have a router record, unless its settings or ``FAILSAFE_STORE`` say that nothing is to be recorded.

    Raises:
        ConfigError: The path of the store is not absolute.
    """
    if locate(config.store) is None:
        return None
    from failsafe.telemetry.store import open_store  # only those who record need SQLite

    store = open_store(config.store, clock=clock)
    return None if store is None else Recording(store, config, endpoints, number, reporter, clock)


def targets(config: RouterConfig) -> dict[str, TargetInfo]:
    """The providers of *config* as the store knows them, by name."""
    from failsafe.telemetry.records import TargetInfo

    def target(provider: ProviderConfig) -> TargetInfo:
        probe = provider.probe or config.probe
        return TargetInfo(
            base_url=provider.base_url,
            interval=probe.interval or config.monitor.interval,
            latency_limit=probe.latency_limit_ms,
            sla=probe.sla,
        )

    return {provider.name: target(provider) for provider in config.providers if provider.enabled}


def _done(endpoint: Endpoint, command: Command) -> str:
    """Do with *endpoint* what *command* says; how it is now, in words."""
    breakers = endpoint.admission.all_breakers
    match command.action:
        case "reset":
            endpoint.reset()
        case "force_open":
            for breaker in breakers:
                breaker.force_open(f"forced open by {command.origin}")
        case "disable":
            for breaker in breakers:
                breaker.disable()
        case "drain":
            endpoint.availability.drain()
            return "draining"
        case "resume":
            endpoint.availability.resume()
            return "takes calls"
    return "/".join(dict.fromkeys(str(breaker.state) for breaker in breakers))
