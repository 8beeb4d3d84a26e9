"""Alerts to a webhook: POST over TLS, within a deadline, not to where a redirect leads."""

from __future__ import annotations

import base64
import logging
from contextlib import suppress
from contextvars import ContextVar
from typing import NamedTuple
from urllib.parse import SplitResult, quote, unquote, urlsplit

from failsafe import addresses, checks
from failsafe.alerts.grouping import Group
from failsafe.alerts.sinks import Render, Troubles
from failsafe.backoff import a_little_later
from failsafe.clock import Clock, Random
from failsafe.deadline import CancelToken, Deadline
from failsafe.models import Failure
from failsafe.secret import Secret
from failsafe.transport.base import Limits, RawAnswer

PAUSES = (1.0, 4.0, 16.0)
"""Seconds before each further try, up to a tenth more."""

_LONGEST_PAUSE = 60.0  # whatever a Retry-After says: the next group waits behind
_LARGEST_ANSWER = 64 * 1024
_TRY_AGAIN = frozenset({408, 425, 429})
_QUOTED = "%/:=&?~#+!$,;'@()*[]"  # left as it stands: the address was quoted by whoever issued it


_posting: ContextVar[bool] = ContextVar("failsafe_posting_an_alert", default=False)


def _not_posting(_record: logging.LogRecord) -> bool:
    return not _posting.get()


class _Refusal(NamedTuple):
    """Why a group was not taken, whether another try may help, and when at the earliest."""

    why: str
    passing: bool
    after: float = 0.0


class Webhook:
    """
    A :class:`failsafe.alerts.sinks.Sink` that posts each group to an address.

    A group is tried four times within at most about 70 seconds (or for longer, where the server asks to wait), then
    dropped, counted, and logged once until one is taken again. It may arrive twice, when the answer to the first
    try was lost; its name is then the same. The address is shown nowhere.

    Args:
        url: The address, a user and a password in it included.
        render: Makes the body.
        clock: Waits between two tries.
        random: The source of chance.
        timeout: Seconds for one try.

    Raises:
        ConfigError: The address is not one of an HTTP server, or the environment's proxy cannot be used.
    """

    def __init__(self, url: Secret, render: Render, *, clock: Clock, random: Random, timeout: float = 10.0) -> None:
        from failsafe.transport.requests_transport import (
            RequestsTransport,
        )  # imports requests: for those who post alone

        logging.getLogger("urllib3.connectionpool").addFilter(_not_posting)  # else it logs the path; once is enough
        parts = _parts(url)
        netloc = parts.netloc.rpartition("@")[2]
        self._transport = RequestsTransport(f"{parts.scheme}://{netloc}", pool_size=1, auth_prefix="Basic ")
        self._target = Secret(quote((parts.path or "/") + (f"?{parts.query}" if parts.query else ""), safe=_QUOTED))
        self._login = _login(parts.username, parts.password)
        self._render = render
        self._clock = clock
        self._random = random
        self._timeout = timeout
        self._token = CancelToken()
        self._troubles = Troubles("webhook")

    @property
    def dropped(self) -> int:
        """Groups that were not taken."""
        return self._troubles.count

    def deliver(self, group: Group, name: str) -> None:
        """Post *group*."""
        body = self._render(group, name)
        refusal = self._post(body)
        for pause in PAUSES:
            if refusal is None or not refusal.passing or self._pause(max(pause, refusal.after)):
                break
            refusal = self._post(body)
        if refusal is None:
            self._troubles.delivered()
        else:
            self._troubles.dropped(refusal.why)

    def _pause(self, seconds: float) -> bool:
        """Wait; whether it is all over."""
        self._clock.wait(self._token.event, a_little_later(seconds, self._random))
        return self._token.cancelled

    def _post(self, body: bytes) -> _Refusal | None:
        limits = Limits(
            deadline=Deadline.after(self._timeout),  # of the real time: sockets know no other
            connect_timeout=min(5.0, self._timeout),
            max_bytes=_LARGEST_ANSWER,
            cancel=self._token,
        )
        answer = self._send(body, limits)
        if isinstance(answer, Failure):
            return _Refusal(f"did not answer ({answer.fault}, in phase {answer.phase})", passing=True)
        if isinstance(answer, RawAnswer):
            return _refusal(answer)
        return None

    def _send(self, body: bytes, limits: Limits) -> RawAnswer | Failure | None:
        """Post *body*; None where it was taken. What is said beyond that is not read: it may take for ever to come."""
        posting = _posting.set(True)
        try:
            answer = self._transport.open("POST", self._target.reveal(), body, self._login, limits)
            if isinstance(answer, RawAnswer | Failure):
                return answer
            answer.close()
            return None
        finally:
            _posting.reset(posting)
            self._transport.close()  # the next group may come in days

    def stop(self) -> None:
        """Give up what is being sent or waited for, and send nothing any more."""
        self._token.cancel()
        self._transport.close()

    def __repr__(self) -> str:
        return f"<Webhook, {self.dropped} dropped>"


def _parts(url: Secret) -> SplitResult:
    parts = None
    with suppress(ValueError):  # which would quote the address
        parts = urlsplit(url.reveal().strip())
    # Asked again of what will be used: two readers of one address may see two hosts in it.
    if parts is None or not (parts.scheme == "https" or addresses.is_loopback(parts.hostname or "")):
        checks.refuse("webhook", checks.HIDDEN, "an https address is needed (http only to this machine)")
    return parts


def _refusal(answer: RawAnswer) -> _Refusal:
    status = answer.status
    if 300 <= status < 400:
        return _Refusal(f"answered with a redirect ({status}), and none is followed", passing=False)
    passing = status >= 500 or status in _TRY_AGAIN
    return _Refusal(f"answered with status {status}", passing, _seconds(answer.headers.get("Retry-After", "")))


def _seconds(retry_after: str) -> float:
    return min(float(retry_after), _LONGEST_PAUSE) if retry_after.isascii() and retry_after.isdigit() else 0.0


def _login(user: str | None, password: str | None) -> Secret | None:
    """What the header of basic authentication holds (RFC 7617); None without a user."""
    if user is None:
        return None
    pair = f"{unquote(user)}:{unquote(password or '')}"
    return Secret(base64.b64encode(pair.encode()).decode())
