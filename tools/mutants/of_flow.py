"""Streams: events out of bytes, one answer on its way, and how long its first content is waited for."""

from __future__ import annotations

from tools.mutants.running import Mutant

_SSE = (
    Mutant(
        "an empty line that was torn apart is not seen",
        "sse.py",
        "        looked_at = len(rest) - 1\n",
        "        looked_at = len(rest)\n",
    ),
    Mutant(
        "all that waits is searched again with each piece",
        "sse.py",
        'rest.find(b"\\n\\n", looked_at)',
        'rest.find(b"\\n\\n", looked_at - looked_at)',
    ),
    Mutant(
        "a CR and its LF that were torn apart are two ends",
        "sse.py",
        '            data = data.removeprefix(b"\\n")\n            self._after_cr',
        "            self._after_cr",
    ),
    Mutant("half a BOM is rubbish", "sse.py", "if len(data) < len(_BOM) and _BOM.startswith(data):", "if False:"),
    Mutant(
        "an event that was cut counts",
        "sse.py",
        "if unended is not None and _is_whole(unended[1]):",
        "if unended is not None:",
    ),
    Mutant("an event without end is lost", "sse.py", "            events.append(unended)\n", "            pass\n"),
    Mutant(
        "a complete event may be of any size",
        "sse.py",
        "        if len(data) > self._most:\n",
        "        if False:\n",
    ),
    Mutant(
        "what is still to come of an event may be of any size",
        "sse.py",
        '            self._check_size(len(rest) - rest.endswith(b"\\n"))\n',
        "",
    ),
    Mutant(
        "JSON over several lines is many events",
        "sse.py",
        "begins = self._depth <= 0 or line.startswith(_BEGIN_ANEW)",
        "begins = True",
    ),
    Mutant("brackets in strings count", "sse.py", 'bare = _STRING.sub(b"", line)', "bare = line"),
    Mutant(
        "data whose name was damaged is left out",
        "sse.py",
        'return _NAME.fullmatch(name) is not None and b"{" not in value',
        "return _NAME.fullmatch(name) is not None",
    ),
)

_FLOW = (
    Mutant(
        "a ping prolongs the wait",
        "flow.py",
        "        if self._renews:\n",
        "        if self._renews or self.shown:\n",
    ),
    Mutant(
        "the limit is not renewed",
        "flow.py",
        "self._renews, self.limit = False, self._silence.begin()",
        "self._renews = False",
    ),
    Mutant(
        "usage is waited for as long as content",
        "flow.py",
        "self._trailing, self.limit = True, self.limit.sooner(_TRAILER_WAIT)",
        "self._trailing = True",
    ),
    Mutant(
        "a finish that comes with each piece ends the answer",
        "flow.py",
        "is_whole = self._reader.finished and not self._went_on",
        "is_whole = self._reader.finished",
    ),
    Mutant(
        "a cut before the finish is an end",
        "flow.py",
        "            if not is_whole or piece.fault is Fault.CANCELLED:\n",
        "            if piece.fault is Fault.CANCELLED:\n",
    ),
    Mutant(
        "a cancellation after the finish is an end",
        "flow.py",
        "            if not is_whole or piece.fault is Fault.CANCELLED:\n",
        "            if not is_whole:\n",
    ),
    Mutant(
        "what follows the end marker is read",
        "flow.py",
        "        while events and not reader.done:\n",
        "        while events:\n",
    ),
    Mutant(
        "what nobody is shown has no bound",
        "flow.py",
        "if reader.text_length > most or self._beside > most:",
        "if reader.text_length > most:",
    ),
    Mutant(
        "an exception of a reader escapes",
        "flow.py",
        "            except Exception as error:  # noqa: BLE001 -- an answer that nobody foresaw",
        "            except ZeroDivisionError as error:  # noqa: BLE001 -- an answer that nobody foresaw",
    ),
    Mutant(
        "a failure keeps the socket",
        "flow.py",
        "        self._opened.close()\n        self._judged = msgspec.structs.replace(",
        "        self._judged = msgspec.structs.replace(",
    ),
    Mutant(
        "a key in an error is shown",
        "flow.py",
        "message=mask(failure.message, self._config.keys)",
        "message=failure.message",
    ),
    Mutant(
        "a stream under another name is not known",
        "flow.py",
        "            if may_be_events and _EVENTS.match(body[:_LOOKED_AT]):\n",
        "            if False:\n",
    ),
)

_FIRST_CONTENT = (
    Mutant("a limit before there are answers enough", "first_content.py", ">= self._config.minimum_calls", ">= 1"),
    Mutant(
        "the floor does not hold",
        "first_content.py",
        "max(self._config.floor, self._config.multiple * slowest)",
        "self._config.multiple * slowest",
    ),
    Mutant(
        "what became slower is cut for ever",
        "first_content.py",
        "self.seconds = longer if self._lost >= longer * _NEARLY else self._usual",
        "self.seconds = self._usual",
    ),
    Mutant(
        "longer tries are for nothing",
        "first_content.py",
        "            self._lost -= taken\n",
        "",
    ),
    Mutant(
        "a longer try that was not needed is lost",
        "first_content.py",
        "                self._lost += taken  # it did",
        "                pass  # it did",
    ),
    Mutant(
        "longer tries never become longer",
        "first_content.py",
        "self._doublings = min(_MOST_DOUBLINGS, self._doublings + 1)",
        "pass",
    ),
    Mutant(
        "an outage is never forgotten",
        "first_content.py",
        "            if self._calm % _CALM == 0:\n",
        "            if False:\n",
    ),
    Mutant(
        "the search goes on after it has found",
        "first_content.py",
        "self._lost = 0.0  # what was",
        "self._lost += taken  # what was",
    ),
    Mutant(
        "what was given less proves something",
        "first_content.py",
        "if self._usual is None or given < self._usual * _NEARLY:",
        "if self._usual is None:",
    ),
    Mutant(
        "any silence counts twice",
        "first_content.py",
        "self._lost += _IN_SILENCE * given if silent else given",
        "self._lost += _IN_SILENCE * given",
    ),
)

MUTANTS = (*_SSE, *_FLOW, *_FIRST_CONTENT)
"""Every mutant of these modules."""
