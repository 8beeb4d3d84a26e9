"""
The slots against a model of them: any order of steps, a limit that moves included, gives the same answers.

What threads do to each other they do between two locked steps; so the machine takes the steps of many
calls in any order, in one thread.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule

from failsafe.slots import Slot, Slots, _Waiter
from failsafe.testing import FakeClock


class SetByHand:
    """A rule whose limit is what the test last set."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.generation = 0
        self.next = limit

    def ended(self, *, generation: int, seconds: float, pushback: bool | None, in_flight: int) -> None:
        assert seconds >= 0
        assert in_flight >= 1
        self.limit = self.next


@dataclass
class Model:
    """What the slots should do: who holds one, who waits, in which order."""

    limit: int
    held: set[int] = field(default_factory=set)
    queue: list[int] = field(default_factory=list)
    rejected: int = 0

    def give_back(self, call: int, limit: int) -> None:
        if call not in self.held:
            return
        self.limit = limit
        self.held.remove(call)
        while self.queue and len(self.held) < self.limit:
            self.held.add(self.queue.pop(0))


class SlotsMachine(RuleBasedStateMachine):
    """Calls that come, wait, give up and end, while the limit moves."""

    holders = Bundle("holders")
    waiters = Bundle("waiters")
    released = Bundle("released")

    @initialize(limit=st.integers(1, 4))
    def begin(self, limit: int) -> None:
        self.clock = FakeClock()
        self.rule = SetByHand(limit)
        self.slots = Slots("model", self.rule, self.clock)
        self.model = Model(limit)
        self.calls = 0
        self.slot_of: dict[int, Slot] = {}
        self.waiter_of: dict[int, _Waiter] = {}

    def number(self) -> int:
        self.calls += 1
        return self.calls

    @rule(target=holders)
    def try_acquire(self) -> int:
        call = self.number()
        slot = self.slots.take()
        fits = len(self.model.held) < self.model.limit
        assert (slot is not None) is fits
        if slot is None:
            self.model.rejected += 1
        else:
            self.slot_of[call] = slot
            self.model.held.add(call)
        return call

    @rule(target=waiters)
    def join(self) -> int:
        call = self.number()
        waiter = self.waiter_of[call] = _Waiter()
        at_once = self.slots._join(waiter, self.clock.monotonic())
        assert at_once is (len(self.model.held) < self.model.limit)
        (self.model.held.add if at_once else self.model.queue.append)(call)
        return call

    @rule(target=holders, call=consumes(waiters))
    def take_what_was_handed_or_give_up(self, call: int) -> int:
        slot = self.slots._leave(self.waiter_of.pop(call))
        assert (slot is not None) is (call in self.model.held)
        if slot is None:
            self.model.queue.remove(call)
        else:
            self.slot_of[call] = slot
        return call

    @rule(call=consumes(waiters))
    def be_interrupted(self, call: int) -> None:
        self.slots._give_on(self.waiter_of.pop(call))
        if call in self.model.queue:
            self.model.queue.remove(call)
        self.model.give_back(call, self.rule.next)

    @rule(target=released, call=consumes(holders), pushback=st.sampled_from([True, False, None]))
    def release(self, call: int, pushback: bool | None) -> int:
        if call in self.slot_of:
            self.slot_of[call].release(pushback=pushback)
            self.model.give_back(call, self.rule.next)
        return call

    @rule(call=released)
    def release_again(self, call: int) -> None:
        if call in self.slot_of:
            self.slot_of[call].release()

    @rule(limit=st.integers(1, 6))
    def move_the_limit_with_the_next_release(self, limit: int) -> None:
        self.rule.next = limit

    @rule()
    def time_passes(self) -> None:
        self.clock.advance(1.0)

    @invariant()
    def the_figures_agree(self) -> None:
        if not hasattr(self, "slots"):
            return
        stats = self.slots.stats()
        assert stats.in_flight == len(self.model.held)
        assert stats.limit == self.model.limit
        assert stats.waiting == len(self.model.queue)
        assert stats.rejected == self.model.rejected

    @invariant()
    def the_longest_waiters_were_served_and_woken_and_no_others(self) -> None:
        if not hasattr(self, "slots"):
            return
        assert [self.waiter_of[call] for call in self.model.queue] == list(self.slots._queue)
        for call, waiter in self.waiter_of.items():
            assert (waiter.slot is not None) is (call in self.model.held)
            assert not waiter.event.is_set() or waiter.slot is not None

    @invariant()
    def nobody_waits_while_a_slot_is_free(self) -> None:
        if hasattr(self, "slots"):
            assert not self.slots.waiting or self.slots.in_flight >= self.slots.limit


TestSlots = SlotsMachine.TestCase
TestSlots.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
