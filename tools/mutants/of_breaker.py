"""The breaker: phases, permits, rules, windows, listeners."""

from __future__ import annotations

from tools.mutants.running import Mutant

_CIRCUIT = (
    Mutant(
        "a late result counts, whatever the period",
        "circuit.py",
        "return permit.phase is self.phase and permit.phase.counts and permit.claim()",
        "return permit.phase.counts and permit.claim()",
    ),
    Mutant(
        "a late success counts, whatever the period",
        "circuit.py",
        "if phase is self.phase and phase.counts and permit.claim():",
        "if phase.counts and permit.claim():",
    ),
    Mutant(
        "a permit is settled as often as one likes",
        "circuit.py",
        "return permit.phase is self.phase and permit.phase.counts and permit.claim()",
        "return permit.phase is self.phase and permit.phase.counts",
    ),
    Mutant(
        "a closed breaker's permit is settled as often as one likes",
        "circuit.py",
        "if phase is self.phase and phase.counts and permit.claim():",
        "if phase is self.phase and phase.counts:",
    ),
    Mutant(
        "a disabled breaker records",
        "circuit.py",
        "        if phase is not self.phase or not phase.counts:\n            return\n",
        "        if phase is not self.phase:\n            return\n",
    ),
    Mutant(
        "a permit is not given back on release",
        "circuit.py",
        "            if self._take_locked(permit):\n                permit.phase.release(permit)\n",
        "            self._take_locked(permit)\n",
    ),
    Mutant(
        "half-open a moment late",
        "circuit.py",
        "if isinstance(self.phase, Open) and now >= self.phase.until:",
        "if isinstance(self.phase, Open) and now > self.phase.until:",
    ),
    Mutant(
        "a permit is given out without the lock",
        "circuit.py",
        "        with self._lock:\n            permit = self._admit_locked(now, chance)\n            if",
        "        permit = self._admit_locked(now, chance)\n        with self._lock:\n            if",
    ),
    Mutant(
        "leases are not looked at",
        "circuit.py",
        "        stuck = phase.stuck(now)\n",
        "        stuck = None\n",
    ),
    Mutant("no cap on probes", "circuit.py", "        if phase.is_full():\n            return None\n", ""),
    Mutant(
        "listeners are called under the lock",
        "circuit.py",
        ", asked=retry_after)\n        self.listeners.tell()",
        ", asked=retry_after)\n            self.listeners.tell()",
    ),
    Mutant(
        "nobody is told that a probe closed it",
        "circuit.py",
        "                self._move_locked(*move, now=now, chance=chance)\n        self.listeners.tell()",
        "                self._move_locked(*move, now=now, chance=chance)",
    ),
    Mutant(
        "an interrupted admission keeps its place",
        "circuit.py",
        "            if permit is not None:\n                self.release(permit)\n            raise",
        "            raise",
    ),
    Mutant(
        "what closes does not forget the growth",
        "circuit.py",
        "        else:\n            self._failed_half_opens = 0\n",
        "        else:\n",
    ),
    Mutant(
        "every opening lengthens the next, not only a failed half-open",
        "circuit.py",
        "self._failed_half_opens += isinstance(old, HalfOpen)",
        "self._failed_half_opens += 1",
    ),
    Mutant(
        "a Retry-After on the tripping failure is ignored",
        "circuit.py",
        "now=now, chance=chance, asked=retry_after)",
        "now=now, chance=chance)",
    ),
    Mutant(
        "a transition to where it is already is told",
        "circuit.py",
        "        if old.state is not state:\n",
        "        if True:\n",
    ),
    Mutant(
        "an open breaker can be tripped again",
        "circuit.py",
        "            if self.phase.counts:\n                self._move_locked(CircuitState.OPEN, reason",
        "            if True:\n                self._move_locked(CircuitState.OPEN, reason",
    ),
    Mutant("soft failures are counted as failures", "circuit.py", "            if soft:\n", "            if False:\n"),
    Mutant(
        "rejections are not counted", "circuit.py", "                self._rejected += 1\n", "                pass\n"
    ),
    Mutant(
        "no jitter", "circuit.py", "return self._random.random() if self._config.timeout_jitter else 0.0", "return 0.0"
    ),
    Mutant("a call of just the limit is slow", "circuit.py", "told) > self._slow_after", "told) >= self._slow_after"),
    Mutant(
        "the time that was told is ignored",
        "circuit.py",
        "told = named_wait(duration)",
        "told = None",
    ),
    Mutant(
        "slow calls are not noticed",
        "circuit.py",
        "return (now - acquired_at if told is None else told) > self._slow_after",
        "return False",
    ),
    Mutant(
        "a success does not clear the streak",
        "circuit.py",
        "        if type(phase) is Closed and not phase.rule.streak:\n",
        "        if type(phase) is Closed:\n",
    ),
    Mutant(
        "queued successes of an earlier period count",
        "circuit.py",
        "            if phase is self.phase:\n                self._successes",
        "            if True:\n                self._successes",
    ),
    Mutant(
        "a failure overtakes the successes before it",
        "circuit.py",
        "            self._catch_up_locked(chance)\n            if not self._take_locked(permit):\n",
        "            if not self._take_locked(permit):\n",
    ),
    Mutant(
        "a forked child waits for its parent's probes",
        "circuit.py",
        "            self.phase = self.phase.without_probes(self._config)",
        "            pass",
    ),
    Mutant(
        "a forked child keeps a lock that may be held",
        "circuit.py",
        "        self._lock = threading.Lock()\n        self.listeners.after_fork()",
        "        self.listeners.after_fork()",
    ),
)

_PHASES = (
    Mutant("one probe too many", "phases.py", "len(self.probes) >= self._places", "len(self.probes) > self._places"),
    Mutant(
        "one success too many is wanted",
        "phases.py",
        "if self.successes < self._wanted:",
        "if self.successes <= self._wanted:",
    ),
    Mutant("one success is enough", "phases.py", "if self.successes < self._wanted:", "if self.successes < 1:"),
    Mutant("a lease never ends", "phases.py", "or self._lease_left(now) > 0:", "or self._lease_left(now) >= 0:"),
    Mutant(
        "a lease ends before every place is taken",
        "phases.py",
        "if not self.is_full() or self._lease_left(now) > 0:",
        "if not self.probes or self._lease_left(now) > 0:",
    ),
    Mutant(
        "the newest probe's lease counts",
        "phases.py",
        "oldest = next(iter(self.probes.values()))",
        "oldest = max(self.probes.values())",
    ),
    Mutant("the lease that was set is ignored", "phases.py", "config.half_open_max_wait or max(", "max("),
    Mutant(
        "a default lease shorter than the open time",
        "phases.py",
        "max(config.timeout, _LONGEST_PROBE)",
        "_LONGEST_PROBE",
    ),
    Mutant(
        "a released probe keeps its place",
        "phases.py",
        '        """Free the place."""\n        del self.probes[permit]',
        '        """Free the place."""',
    ),
    Mutant(
        "a probe that succeeded keeps its place",
        "phases.py",
        "        del self.probes[permit]\n        self.successes += 1\n",
        "        self.successes += 1\n",
    ),
    Mutant(
        "a rate-limited probe does not open it",
        "phases.py",
        '        return CircuitState.OPEN, f"a probe {',
        '        if soft:\n            return None\n        return CircuitState.OPEN, f"a probe {',
    ),
    Mutant("slow probes close it", "phases.py", "        if self.slow_successes and self", "        if False and self"),
    Mutant("slow probes are not counted", "phases.py", "        self.slow_successes += slow\n", ""),
    Mutant("elapsed is not clamped below", "phases.py", "max(0.0, self.until - now)", "self.until - now"),
    Mutant("elapsed is not clamped above", "phases.py", "return min(self.open_for, max(", "return (max("),
    Mutant("half-open with room says to wait", "phases.py", "if self.is_full() else 0.0", "if self.probes else 0.0"),
    Mutant(
        "jitter that shortens",
        "phases.py",
        "return min(longest, wanted * (1.0 + config.timeout_jitter * chance))",
        "return min(longest, wanted * (1.0 - config.timeout_jitter * chance))",
    ),
    Mutant("the open time has no limit", "phases.py", "return min(longest, wanted *", "return (wanted *"),
    Mutant(
        "Retry-After shortens the open time",
        "phases.py",
        "wanted = max(grown, asked or 0.0)",
        "wanted = asked or grown",
    ),
    Mutant(
        "Retry-After does not lengthen the open time",
        "phases.py",
        "wanted = max(grown, asked or 0.0)",
        "wanted = grown",
    ),
    Mutant(
        "growth up to the limit leaves no room for jitter",
        "phases.py",
        "growth_limit = max(config.timeout, longest / (1.0 + config.timeout_jitter))",
        "growth_limit = longest",
    ),
    Mutant(
        "no growth",
        "phases.py",
        "config.timeout_multiplier, failed_half_opens, growth_limit)",
        "config.timeout_multiplier, 0, growth_limit)",
    ),
    Mutant(
        "the streak of a watched breaker is not cleared",
        "phases.py",
        "        self.rule.streak = 0\n        reason = self.rates.success(now, slow)",
        "        reason = self.rates.success(now, slow)",
    ),
    Mutant(
        "the streak is not cleared",
        "phases.py",
        "        self.rule.streak = 0\n        return None",
        "        return None",
    ),
    Mutant(
        "a success never opens, however slow",
        "phases.py",
        "        reason = self.rates.success(now, slow)\n",
        "        self.rates.success(now, slow)\n        reason = None\n",
    ),
    Mutant(
        "the rates are judged only without a streak rule",
        "phases.py",
        "        reason = streak_broken or rate_broken\n",
        "        reason = streak_broken\n",
    ),
    Mutant("figures of the window as of the last call", "phases.py", "        self.rates.window.move_on(now)\n", ""),
)

_RULES = (
    Mutant(
        "one failure more than the threshold",
        "rules.py",
        "self.streak < self._threshold:",
        "self.streak <= self._threshold:",
    ),
    Mutant(
        "one failure fewer than the threshold",
        "rules.py",
        "self.streak < self._threshold:",
        "self.streak < self._threshold - 1:",
    ),
    Mutant(
        "a soft failure counts into the streak",
        "rules.py",
        "        if soft:\n            return None\n        self.streak += 1",
        "        self.streak += 1",
    ),
    Mutant(
        "a soft failure clears the streak",
        "rules.py",
        "        if soft:\n            return None\n",
        "        if soft:\n            self.streak = 0\n            return None\n",
    ),
    Mutant(
        "a failure rate must be above its threshold",
        "rules.py",
        "window.failures / calls >= self._failure_rate:",
        "window.failures / calls > self._failure_rate:",
    ),
    Mutant(
        "a slow rate must be above its threshold",
        "rules.py",
        "window.slow_calls / calls >= self._slow_rate:",
        "window.slow_calls / calls > self._slow_rate:",
    ),
    Mutant(
        "minimum_calls is one too high",
        "rules.py",
        "        if calls < self._minimum:",
        "        if calls <= self._minimum:",
    ),
    Mutant(
        "minimum_calls is one too low",
        "rules.py",
        "        if calls < self._minimum:",
        "        if calls < self._minimum - 1:",
    ),
    Mutant(
        "a small window never has enough calls",
        "rules.py",
        "min(config.minimum_calls, config.window_size or config.minimum_calls)",
        "config.minimum_calls",
    ),
    Mutant(
        "failures are not put into the window",
        "rules.py",
        "self.window.add(now, failed=True, slow=slow)",
        "self.window.add(now, failed=False, slow=slow)",
    ),
    Mutant(
        "slow failures are not slow",
        "rules.py",
        "self.window.add(now, failed=True, slow=slow)",
        "self.window.add(now, failed=True, slow=False)",
    ),
    Mutant(
        "slow successes are not slow",
        "rules.py",
        "window.add(now, failed=False, slow=slow)",
        "window.add(now, failed=False, slow=False)",
    ),
    Mutant(
        "the slow rule is on without a limit",
        "rules.py",
        "math.inf if config.slow_call_duration is None else config.slow_call_rate_threshold",
        "config.slow_call_rate_threshold",
    ),
    Mutant(
        "a success is judged only after failures",
        "rules.py",
        "if window.failures or window.slow_calls else None",
        "if window.failures else None",
    ),
)

_WINDOWS = (
    Mutant("the latest calls are never forgotten", "windows.py", "            self.failures -= old & _FAILED\n", ""),
    Mutant("slow calls are never forgotten", "windows.py", "            self.slow_calls -= old >> 1\n", ""),
    Mutant(
        "the window holds one call too many",
        "windows.py",
        "        if self.calls == self._size:\n",
        "        if self.calls > self._size:\n",
    ),
    Mutant(
        "always the same call is forgotten",
        "windows.py",
        "self._oldest = (self._oldest + 1) % self._size",
        "self._oldest = 0",
    ),
    Mutant(
        "a failure is also slow",
        "windows.py",
        "mark = _FAILED * failed + _SLOW * slow",
        "mark = _FAILED * failed + _SLOW * (slow or failed)",
    ),
    Mutant(
        "old buckets stay",
        "windows.py",
        "            self._empty_oldest()\n",
        "            self._newest = (self._newest + 1) % _STEPS\n",
    ),
    Mutant(
        "a long pause empties one bucket only", "windows.py", "range(int(min(_STEPS, step - self._step)))", "range(1)"
    ),
    Mutant("time does not move on", "windows.py", "        self._step = step\n", ""),
    Mutant(
        "a clock that goes back empties the window",
        "windows.py",
        "        if step <= self._step:\n            return\n",
        "        if step <= self._step:\n            step = self._step + _STEPS\n",
    ),
    Mutant(
        "the window is half as long",
        "windows.py",
        "self._width = seconds / _STEPS",
        "self._width = seconds / _STEPS / 2",
    ),
    Mutant("adding does not move on", "windows.py", "        self.move_on(now)\n        bucket", "        bucket"),
    Mutant("sums are not lessened", "windows.py", "        self.failures -= failures\n", ""),
    Mutant("slow sums are not lessened", "windows.py", "        self.slow_calls -= slow_calls\n", ""),
)

_SHELLS = (
    Mutant(
        "a block settles the outermost permit first",
        "breaker.py",
        "self._entered.permits.pop().settle(error)",
        "self._entered.permits.pop(0).settle(error)",
    ),
    Mutant(
        "a call of a closed breaker takes no time",
        "breaker.py",
        "circuit.pass_by(phase, acquired_at)",
        "circuit.pass_by(phase, circuit.acquisition_time())",
    ),
    Mutant(
        "a success through call() is not recorded", "breaker.py", "        circuit.pass_by(phase, acquired_at)\n", ""
    ),
    Mutant(
        "call() takes half-open for leave",
        "breaker.py",
        "        if not phase.admits_all:\n            with self",
        "        if phase.state is CircuitState.HALF_OPEN:\n            return fn(*args, **kwargs)\n"
        "        if not phase.admits_all:\n            with self",
    ),
    Mutant(
        "the lock is held over the user's function",
        "breaker.py",
        "            result = fn(*args, **kwargs)\n",
        "            with circuit._lock:\n                result = fn(*args, **kwargs)\n",
    ),
    Mutant(
        "the registry makes a breaker for each question", "breaker.py", "        self._breakers[name] = breaker\n", ""
    ),
)

_LISTENERS = (
    Mutant(
        "a listener's error reaches the call",
        "listeners.py",
        '        except Exception:\n            _logger.exception("a listener',
        '        except ZeroDivisionError:\n            _logger.exception("a listener',
    ),
    Mutant(
        "two threads tell at once",
        "listeners.py",
        "while self.pending and self._telling.acquire(blocking=False):",
        "while self.pending:\n            self._telling = threading.Lock()\n            self._telling.acquire()",
    ),
    Mutant("the newest is told first", "listeners.py", "noted = self.pending.popleft()", "noted = self.pending.pop()"),
    Mutant(
        "what is queued while the door is shut is forgotten",
        "listeners.py",
        "        while self.pending and self._telling",
        "        if self.pending and self._telling",
    ),
)

MUTANTS = (*_CIRCUIT, *_PHASES, *_RULES, *_WINDOWS, *_SHELLS, *_LISTENERS)
