"""Streams: what is held for them, and what their readers are told."""

from __future__ import annotations

from tools.mutants.running import Mutant

_HELD = (
    Mutant(
        "a stream that is closed keeps its place",
        "attempts.py",
        "            opened.entry.abandon()\n            course.endpoint.give_back(opened.key, course.model)\n",
        "            course.endpoint.give_back(opened.key, course.model)\n",
    ),
    Mutant(
        "a stream that is closed keeps its key's trial",
        "attempts.py",
        "            opened.entry.abandon()\n            course.endpoint.give_back(opened.key, course.model)\n",
        "            opened.entry.abandon()\n",
    ),
    Mutant(
        "a stream that is closed leaves its socket open",
        "attempts.py",
        "            flow.close()\n            outcome, blamed = self._settle(opened, outcome)\n",
        "            outcome, blamed = self._settle(opened, outcome)\n",
    ),
    Mutant(
        "an attempt that is interrupted at its first content leaves its socket open",
        "attempts.py",
        "            if isinstance(asked, Flow):\n                asked.close()\n",
        "",
    ),
    Mutant(
        "an answer that is put together leaves its socket open when it is interrupted",
        "manner.py",
        "        finally:\n            flow.close()\n",
        "        finally:\n            pass\n",
    ),
    Mutant(
        "a collection amid our own code takes our locks",
        "stream.py",
        "                if not amid_our_own_code(sys._getframe().f_back):",
        "                if True:",
    ),
    Mutant(
        "a finaliser that nothing has called gives nothing back",
        "stream.py",
        "amid_our_own_code(sys._getframe().f_back)",
        "amid_our_own_code(sys._getframe(2))",
    ),
    Mutant(
        "a listener that ends the program keeps the router open",
        "stream.py",
        "        passage.call.tell(line)\n    finally:\n        passage.ended(reply, why)\n",
        "        passage.call.tell(line)\n    finally:\n        _ = line or passage.ended(reply, why)\n",
    ),
    Mutant(
        "a last answer that fails keeps the router open",
        "router.py",
        "            self._gate.leave(call)\n            raise\n        passage.token.close()\n",
        "            raise\n        passage.token.close()\n",
    ),
    Mutant(
        "a refused call stays with the caller's token",
        "router.py",
        "            token.close()\n            raise\n",
        "            raise\n",
    ),
)

_TOLD = (
    Mutant(
        "a stream that another thread has closed looks whole",
        "stream.py",
        "        if self._closer not in (None, threading.get_ident()) and self._response is None:\n",
        "        if False:\n",
    ),
    Mutant(
        "a reader who had its piece leaves a closed stream open",
        "stream.py",
        "            if self._closer is not None and not self._ended:\n",
        "            if False:\n",
    ),
    Mutant(
        "a forked child reads on at its parent's socket",
        "stream.py",
        "        if not self._ended:\n            self._parents,",
        "        if False:\n            self._parents,",
    ),
    Mutant(
        "what was shown before a restart counts as received",
        "stream.py",
        "            self._collector.clear()\n",
        "            pass\n",
    ),
    Mutant(
        "another provider's error takes away what was received",
        "stream.py",
        "        except (AllProvidersFailed, DeadlineExceeded, ProviderFault) as error:\n",
        "        except (AllProvidersFailed, DeadlineExceeded) as error:\n",
    ),
    Mutant(
        "a tool call that has begun is gone on with",
        "stream.py",
        "        if self._collector.calls_tools:\n",
        "        if False:\n",
    ),
    Mutant(
        "white space of one seam is taken off at the next",
        "stream.py",
        '        self._space = ""\n        if not begun:\n',
        "        if not begun:\n",
    ),
    Mutant(
        "the end of the deadline is told as the provider's fault",
        "stream.py",
        "        if failure.fault is Fault.TIMEOUT and call.out_of_time:\n",
        "        if False:\n",
    ),
    Mutant(
        "a model that nobody knows is given its own words to go on with",
        "manner.py",
        '    if endpoint.dialect.name != "anthropic" or target.info == _UNKNOWN:\n',
        '    if endpoint.dialect.name != "anthropic":\n',
    ),
)

_JUDGED = (
    Mutant(
        "a provider that was writing when the deadline came has failed",
        "attempts.py",
        "limit, own_limit, usual = flow.limit.timeout, endpoint.stream.stall, max(BLAMED_AFTER, usual or 0.0)",
        "limit, own_limit, usual = endpoint.stream.stall, endpoint.stream.stall, None",
    ),
    Mutant(
        "the whole deadline counts as silence",
        "flow.py",
        "        return limit.from_now() if limit is self.deadline else limit\n",
        "        return limit\n",
    ),
    Mutant(
        "a slow reader makes a slow provider",
        "attempts.py",
        "            entry.permit.success(first_content)\n",
        "            entry.permit.success()\n",
    ),
    Mutant(
        "a slow reader lowers an adaptive limit",
        "attempts.py",
        "tokens=outcome.answer.usage.total_tokens, seconds=first_content)",
        "tokens=outcome.answer.usage.total_tokens)",
    ),
    Mutant(
        "the next provider is left the time for no whole answer",
        "manner.py",
        "        return endpoint.latency.p95 or self.usual(endpoint, model)\n",
        "        return self.usual(endpoint, model)\n",
    ),
    Mutant(
        "the limit on a hang does not learn",
        "manner.py",
        "        return own if usual is None else min(own, usual)\n",
        "        return own\n",
    ),
)

MUTANTS = (*_HELD, *_TOLD, *_JUDGED)
