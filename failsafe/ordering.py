"""Puts the providers that may answer one call into the order in which to ask them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from failsafe.clock import Random
from failsafe.constraints import Constraints, ruled_out
from failsafe.course import Candidate
from failsafe.models import Skip, SkipReason
from failsafe.policy_config import SelectionConfig
from failsafe.request_size import RequestSize
from failsafe.selection import by_priority, draw
from failsafe.strategies import STRATEGIES, Circumstances, Snapshot, Strategy, order

if TYPE_CHECKING:
    from failsafe.spending import Overrun, Spending

_NO_CONSTRAINTS = Constraints()


class Serving:
    """
    Who serves one model. Thread-safe: only the counter changes, by single operations.

    Args:
        candidates: The providers, in the order of the settings.

    Attributes:
        candidates: The same.
        groups: They by priority, equals together.
    """

    __slots__ = ("_turns", "candidates", "groups")

    def __init__(self, candidates: Iterable[Candidate]) -> None:
        self.candidates = tuple(candidates)
        self.groups = by_priority(self.candidates)
        self._turns = itertools.count()

    def usual(self) -> bool:
        """Whether every candidate takes its full share of calls."""
        # A loop, since a generator would cost each call more than all else here.
        for candidate in self.candidates:  # noqa: SIM110
            if not candidate.endpoint.availability.usual:
                return False
        return True

    def turn(self) -> int:
        """How many calls for this model were put into an order before this one."""
        return next(self._turns)


class Arranged(NamedTuple):
    """The candidates in order, those that are left out, with the reason, and the cap that some are left out for."""

    candidates: Sequence[Candidate]
    skipped: Sequence[Skip] = ()
    overrun: Overrun | None = None


class Ordering:
    """
    Applies a router's strategy, and what a call asks for beside it. Thread-safe.

    Args:
        config: The strategy and its settings.
        random: The source of chance.
        spending: Knows who would go beyond a cap on what may be spent; None: there are no caps.
    """

    def __init__(self, config: SelectionConfig, random: Random, spending: Spending | None = None) -> None:
        self._config = config
        self._random = random
        self._by_priority = config.strategy == "priority"
        self._strategy: Strategy = STRATEGIES[config.strategy] if isinstance(config.strategy, str) else config.strategy
        self._needs_cost = config.strategy == "cheapest" or callable(config.strategy)  # one's own may look at anything
        self._spending = spending
        self._plain = self._by_priority and config.max_latency_ms is None

    def arrange(self, serving: Serving, size: RequestSize, constraints: Constraints | None) -> Arranged:
        """
        The order for one call.

        Args:
            serving: Who may answer.
            size: How large the request is.
            constraints: What the call asks for, or None.
        """
        if self._plain and constraints is None and serving.usual():
            arranged = Arranged(draw(serving.groups, self._random))
        else:
            arranged = self._by_strategy(serving, size, constraints)
        return arranged if self._spending is None else _within_caps(arranged, size, self._spending)

    def _by_strategy(self, serving: Serving, size: RequestSize, constraints: Constraints | None) -> Arranged:
        wanted = constraints or _NO_CONSTRAINTS
        costs = self._costs(serving, size, wanted)
        skipped: list[Skip] = []
        left: dict[str, Candidate] = {}
        for candidate in serving.candidates:
            skip = _left_out(candidate, wanted, costs.get(candidate.endpoint.name))
            if skip is None:
                left[candidate.endpoint.name] = candidate
            else:
                skipped.append(skip)
        snapshots = [self._snapshot(candidate, costs.get(name)) for name, candidate in left.items()]
        ordered = order(self._strategy, snapshots, self._circumstances(serving, wanted))
        return Arranged([left[snapshot.name] for snapshot in ordered], skipped)

    def _costs(self, serving: Serving, size: RequestSize, wanted: Constraints) -> dict[str, float | None]:
        if not self._needs_cost and wanted.max_cost_usd is None:
            return {}
        return {
            candidate.endpoint.name: size.cost_usd(candidate.endpoint.price(candidate.models[0]))
            for candidate in serving.candidates
        }

    def _snapshot(self, candidate: Candidate, cost: float | None) -> Snapshot:
        endpoint = candidate.endpoint
        endpoint.watched = True
        return Snapshot(
            name=endpoint.name,
            tier=endpoint.priority if self._by_priority else endpoint.config.priority or 0,
            weight=endpoint.weight,
            in_flight=endpoint.in_flight,
            latency=endpoint.peak.seconds,
            cost=cost,
            typical=endpoint.typical.seconds,
            share=endpoint.availability.share(self._config.slow_start),
        )

    def _circumstances(self, serving: Serving, wanted: Constraints) -> Circumstances:
        most = wanted.max_latency_ms or self._config.max_latency_ms
        return Circumstances(
            random=self._random,
            turn=serving.turn(),
            sticky=wanted.sticky,
            max_latency=None if most is None else most / 1000,
        )


def _within_caps(arranged: Arranged, size: RequestSize, spending: Spending) -> Arranged:
    """*arranged* without whom, and without which models, a cap on what may be spent rules out."""
    left: list[Candidate] = []
    skipped = list(arranged.skipped)
    overruns: list[Overrun] = []
    for candidate in arranged.candidates:
        endpoint, models = candidate
        found = {model: spending.overrun(endpoint.name, size.cost_usd(endpoint.price(model))) for model in models}
        affordable = tuple(model for model, overrun in found.items() if overrun is None)
        if len(affordable) == len(models):
            left.append(candidate)
        elif affordable:
            left.append(Candidate(endpoint, affordable))
        else:
            overrun = _nearest(filter(None, found.values()))
            overruns.append(overrun)
            skipped.append(
                Skip(
                    provider=endpoint.name, model=models[0], reason=SkipReason.SPEND_LIMIT, detail=str(overrun),
                    retry_after=overrun.retry_after,
                )
            )  # fmt: skip
    return Arranged(left, skipped, _nearest(overruns) if overruns else None)


def _nearest(overruns: Iterable[Overrun]) -> Overrun:
    """The one of whatever would be cheapest."""
    return min(overruns, key=lambda overrun: math.inf if overrun.estimate is None else overrun.estimate)


def _left_out(candidate: Candidate, wanted: Constraints, cost: float | None) -> Skip | None:
    """Why this call does not ask *candidate*, or None."""
    endpoint = candidate.endpoint
    if endpoint.availability.draining:
        reason, why = SkipReason.DRAINING, "it takes no new calls until Router.resume"
    else:
        reason, why = SkipReason.CONSTRAINT, ruled_out(wanted, endpoint.config, cost) or ""
    return Skip(provider=endpoint.name, model=candidate.models[0], reason=reason, detail=why) if why else None
