"""Limits on calls under way."""

from __future__ import annotations

from tools.mutants.running import Mutant

_SLOTS = (
    Mutant(
        "one call more than the limit",
        "slots.py",
        "        with self._lock:\n            if len(self._held) < self.limit:\n                slot",
        "        with self._lock:\n            if len(self._held) <= self.limit:\n                slot",
    ),
    Mutant(
        "one waiter more than the limit",
        "slots.py",
        "while self._queue and len(self._held) < self.limit:",
        "while self._queue and len(self._held) <= self.limit:",
    ),
    Mutant(
        "released twice, freed twice",
        "slots.py",
        "            if slot not in self._held:\n                return\n",
        "            if slot not in self._held:\n                self.limit += 1\n                return\n",
    ),
    Mutant(
        "the newest waiter is served first",
        "slots.py",
        "self._queue.popitem(last=False)",
        "self._queue.popitem(last=True)",
    ),
    Mutant(
        "a slot handed to somebody who left is lost",
        "slots.py",
        "            self.give_back(slot, None)\n",
        "            pass\n",
    ),
    Mutant(
        "an interrupted waiter stays in the queue",
        "slots.py",
        "            if slot is None:  # refused",
        "            if False:  # refused",
    ),
    Mutant("waiters are not woken", "slots.py", "            waiter.event.set()\n", "            pass\n"),
    Mutant(
        "only one waiter when the limit rises",
        "slots.py",
        "        while self._queue and len(self._held) < self.limit:\n",
        "        if self._queue and len(self._held) < self.limit:\n",
    ),
    Mutant(
        "a call that failed keeps its slot",
        "slots.py",
        "        self._slots.give_back(self, pushback_of(error))",
        "        if error is None:\n            self._slots.give_back(self, pushback_of(error))",
    ),
)

_AIMD = (
    Mutant("it rises while it is not used", "aimd.py", "elif 2 * in_flight >= self.limit:", "elif in_flight >= 0:"),
    Mutant(
        "one overload makes it fall many times",
        "aimd.py",
        "if pushback is None or generation != self.generation:",
        "if pushback is None:",
    ),
    Mutant(
        "cancelled calls make it rise",
        "aimd.py",
        "if pushback is None or generation != self.generation:",
        "if generation != self.generation:",
    ),
    Mutant(
        "above its maximum",
        "aimd.py",
        "min(float(self._maximum), self._exact + 1.0 / self._exact)",
        "self._exact + 1.0 / self._exact",
    ),
    Mutant(
        "below its minimum",
        "aimd.py",
        "max(float(self._minimum), min(self._exact * self._backoff, self.limit - 1.0))",
        "min(self._exact * self._backoff, self.limit - 1.0)",
    ),
    Mutant(
        "a fall that is none",
        "aimd.py",
        "min(self._exact * self._backoff, self.limit - 1.0)",
        "self._exact * self._backoff",
    ),
    Mutant("one for every answer", "aimd.py", "self._exact + 1.0 / self._exact)", "self._exact + 1.0)"),
)

MUTANTS = (*_SLOTS, *_AIMD)
