"""The way of a call over the providers."""

from __future__ import annotations

from tools.mutants.running import Mutant

_ATTEMPTS = (
    Mutant(
        "an interrupted attempt keeps its permit",
        "attempts.py",
        "            if entry is not None:\n                entry.abandon()\n            endpoint",
        "            endpoint",
    ),
    Mutant(
        "an interrupted attempt keeps its key's trial",
        "attempts.py",
        "            endpoint.give_back(key, course.model)\n            raise",
        "            raise",
    ),
    Mutant(
        "a refusal of the budget keeps the permit",
        "admission.py",
        "                permit.release()\n                return OUT_OF_BUDGET",
        "                return OUT_OF_BUDGET",
    ),
    Mutant(
        "a neutral outcome keeps the permit",
        "attempts.py",
        "            entry.permit.release()\n        else:",
        "            pass\n        else:",
    ),
    Mutant(
        "one poison call opens the breaker",
        "attempts.py",
        "soft = effect is BreakerEffect.SOFT or course.struck",
        "soft = effect is BreakerEffect.SOFT",
    ),
    Mutant(
        "a rate limit counts in the streak",
        "attempts.py",
        "soft = effect is BreakerEffect.SOFT or course.struck",
        "soft = course.struck",
    ),
    Mutant(
        "a first try costs a token",
        "admission.py",
        "if repeated and not self.budget.try_spend():",
        "if not self.budget.try_spend():",
    ),
    Mutant("further tries cost nothing", "admission.py", "if repeated and not self.budget.try_spend():", "if False:"),
    Mutant(
        "a breaker that refuses keeps the place among the calls under way",
        "admission.py",
        "            if not isinstance(outcome, Entry):\n                slot.release()",
        "            pass",
    ),
    Mutant(
        "a breaker that refuses keeps what the rate limiter granted",
        "admission.py",
        "            if not isinstance(outcome, Entry):\n                limiter.give_back(tokens, requests=1)",
        "            pass",
    ),
    Mutant(
        "the breaker is not told of a success",
        "attempts.py",
        "                entry.permit.success()\n",
        "                entry.permit.release()\n",
    ),
    Mutant(
        "the deadline is not passed to the attempt",
        "attempts.py",
        "deadline=self._deadline.sooner(limit)",
        "deadline=self._deadline",
    ),
    Mutant(
        "a hurried caller's timeout is the provider's failure",
        "attempts.py",
        "own_limit=own_limit, usual=usual) else _NO_EFFECT",
        "own_limit=own_limit, usual=usual) else BreakerEffect.FAILURE",
    ),
)

_FAILOVER = (
    Mutant(
        "a wait longer than the cap is slept",
        "failover.py",
        "if soonest > self._shared.config.retry.retry_after_cap or pause >= self._deadline.left:",
        "if pause >= self._deadline.left:",
    ),
    Mutant(
        "a wait past the deadline is slept",
        "failover.py",
        "if soonest > self._shared.config.retry.retry_after_cap or pause >= self._deadline.left:",
        "if soonest > self._shared.config.retry.retry_after_cap:",
    ),
    Mutant(
        "one round too many",
        "failover.py",
        "self._attempts.round > self._shared.config.retry.max_retries",
        "self._attempts.round > self._shared.config.retry.max_retries + 1",
    ),
    Mutant(
        "one try of a provider too many",
        "failover.py",
        "        if course.tries > allowed and not course.over:",
        "        if course.tries > allowed + 1 and not course.over:",
    ),
    Mutant(
        "rounds in which nobody was asked count",
        "failover.py",
        "        if anyone_asked:\n            self._rest_the_tried()\n            self._attempts.round += 1\n",
        "        if anyone_asked:\n            self._rest_the_tried()\n        self._attempts.round += 1\n",
    ),
    Mutant(
        "a cancelled call goes on",
        "failover.py",
        "        if failure.fault is Fault.CANCELLED:\n",
        "        if False:\n",
    ),
)

_RACE = (
    Mutant(
        "a hedge that wins leaves the others running",
        "race.py",
        "        if won:\n            self._call_off()\n",
        "",
    ),
    Mutant(
        "more hedges than allowed",
        "race.py",
        "self._begun < self._hedges.config.max_hedges",
        "self._begun <= self._hedges.config.max_hedges",
    ),
    Mutant("hedges cost nothing", "race.py", "if not may_begin or not self._paid():", "if not may_begin:"),
    Mutant(
        "a late answer replaces the first",
        "race.py",
        "if self._winner is not None or not isinstance(outcome, Answered):",
        "if not isinstance(outcome, Answered):",
    ),
)

MUTANTS = (*_ATTEMPTS, *_FAILOVER, *_RACE)
