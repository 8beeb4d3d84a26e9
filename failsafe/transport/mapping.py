"""
Foreign exceptions to failures, in one place.

An exception of requests or urllib3 carries the request, key included, so none leaves the transport and none
of their texts is quoted: a failure is described from the exchange's own record and from the type of the
root cause.
"""

from __future__ import annotations

import http.client
import re
import ssl
from collections.abc import Callable, Iterator

import requests
import urllib3.exceptions

from failsafe.durations import in_words
from failsafe.faults import Fault
from failsafe.models import Failure, Phase
from failsafe.transport.body import Unusable
from failsafe.transport.exchange import Exchange

_DOING = {
    Phase.DNS: "looking up the name",
    Phase.CONNECT: "connecting",
    Phase.PROXY: "waiting for the proxy",
    Phase.TLS: "in the TLS handshake",
    Phase.SEND: "sending the request",
    Phase.WAIT: "waiting for headers",
    Phase.READ: "reading the body",
}
_BEFORE_SENDING = frozenset({Phase.DNS, Phase.CONNECT, Phase.PROXY, Phase.TLS})
_Verdict = tuple[Fault, str]
_Kinds = tuple[type[BaseException], ...]


def failure(error: Exception, exchange: Exchange, peer: str) -> Failure:
    """
    What *error* means for the attempt.

    Args:
        error: Whatever was raised while the exchange was under way.
        exchange: How far it came.
        peer: Host and port of the server, for the message.
    """
    causes = tuple(_causes(error))
    phase = _phase(causes, exchange)
    fault, message = _judge(causes, exchange, phase, peer)
    return Failure(
        fault=fault,
        message=message,
        status=exchange.answer.status if exchange.answer is not None else None,
        phase=phase,
        bytes_received=exchange.received,
        maybe_billed=exchange.maybe_billed or phase in (Phase.WAIT, Phase.READ),
    )


def _causes(error: BaseException) -> Iterator[BaseException]:
    """*error* and what it was made of, the root last: requests and urllib3 wrap in four different ways."""
    waiting, seen = [error], set()
    while waiting:
        cause = waiting.pop(0)
        if id(cause) in seen:
            continue
        seen.add(id(cause))
        yield cause
        inner = (*cause.args, cause.__cause__, getattr(cause, "reason", None), getattr(cause, "original_error", None))
        waiting += [part for part in inner if isinstance(part, BaseException)]


def _phase(causes: tuple[BaseException, ...], exchange: Exchange) -> Phase:
    """How far it came; where a mock stood in for the network, the exception alone can tell."""
    if exchange.phase is Phase.CONNECT and not exchange.reached_out:
        for kinds, phase in _PHASE_OF_A_MOCK:
            if any(isinstance(cause, kinds) for cause in causes):
                return phase
    return exchange.phase


_PHASE_OF_A_MOCK: tuple[tuple[_Kinds, Phase], ...] = (
    ((requests.ReadTimeout, urllib3.exceptions.ReadTimeoutError, http.client.RemoteDisconnected), Phase.WAIT),
    (
        (
            requests.exceptions.ChunkedEncodingError,
            requests.exceptions.ContentDecodingError,
            requests.exceptions.InvalidJSONError,
            urllib3.exceptions.IncompleteRead,
            urllib3.exceptions.DecodeError,
        ),
        Phase.READ,
    ),
)


def _judge(causes: tuple[BaseException, ...], exchange: Exchange, phase: Phase, peer: str) -> _Verdict:
    """The fault and its message, by the most telling cause."""
    if exchange.cancelled:
        return Fault.CANCELLED, f"cancelled while {_DOING[phase]}"
    for kinds, judge in _RULES:
        for cause in reversed(causes):
            if isinstance(cause, kinds):
                return judge(cause, exchange, phase, peer)
    return _lost(causes[-1], exchange, phase, peer)


def _not_connected(_: BaseException, exchange: Exchange, phase: Phase, peer: str) -> _Verdict:
    return Fault.NETWORK, exchange.blame or f"no connection to {peer} ({_DOING[phase]})"


def _late(_: BaseException, exchange: Exchange, phase: Phase, peer: str) -> _Verdict:
    within = f"within {in_words(exchange.limit.timeout)}"
    if phase in _BEFORE_SENDING or (phase is Phase.SEND and not exchange.wrote):
        detail = f"; {exchange.blame}" if exchange.blame else ""
        return Fault.CONNECT_TIMEOUT, f"no connection to {peer} {within} ({_DOING[phase]}{detail})"
    seen = f", {exchange.received} bytes so far" if phase is Phase.READ else ""
    return Fault.TIMEOUT, f"no answer {within} ({_DOING[phase]}{seen})"


def _untrusted(error: BaseException, _exchange: Exchange, _phase: Phase, peer: str) -> _Verdict:
    why = getattr(error, "verify_message", "") or "it is not valid for this host"
    return Fault.NETWORK, f"the TLS certificate of {peer} is not trusted: {why}"


def _tls(error: BaseException, exchange: Exchange, phase: Phase, peer: str) -> _Verdict:
    if phase not in _BEFORE_SENDING:
        return _lost(error, exchange, phase, peer)
    why = str(getattr(error, "reason", None) or "failed").replace("_", " ").lower()
    return Fault.NETWORK, exchange.blame or f"TLS handshake with {peer}: {why}"


def _cut(_: BaseException, exchange: Exchange, _phase: Phase, _peer: str) -> _Verdict:
    return Fault.TRUNCATED, f"answer cut short after {exchange.received} bytes"


def _unusable(error: BaseException, *_: object) -> _Verdict:
    return Fault.MALFORMED, str(error)


def _garbled(error: BaseException, exchange: Exchange, phase: Phase, peer: str) -> _Verdict:
    if phase in _BEFORE_SENDING:
        return _lost(error, exchange, phase, peer)
    what = "body cannot be decoded" if phase is Phase.READ else "head is not HTTP"
    return Fault.MALFORMED, f"the answer's {what} ({type(error).__name__})"


def _unsendable(error: BaseException, exchange: Exchange, phase: Phase, peer: str) -> _Verdict:
    if exchange.maybe_billed:
        return _lost(error, exchange, phase, peer)
    return Fault.MISCONFIGURED, f"the address or a header holds what HTTP cannot carry ({type(error).__name__})"


def _lost(error: BaseException, exchange: Exchange, phase: Phase, peer: str) -> _Verdict:
    """The connection failed in a way that only the phase explains."""
    if phase is Phase.READ:
        return Fault.TRUNCATED, f"connection to {peer} lost after {exchange.received} bytes of the answer"
    if phase not in _BEFORE_SENDING:
        return Fault.DISCONNECTED, f"connection to {peer} lost while {_DOING[phase]}"
    refused = _REFUSED_TUNNEL.match(str(error.args[0])) if phase is Phase.PROXY and error.args else None
    if refused:
        return Fault.NETWORK, f"the proxy refused the way to {peer} with status {refused[1]}"
    return Fault.NETWORK, exchange.blame or f"no connection to {peer} ({_DOING[phase]}: {type(error).__name__})"


_REFUSED_TUNNEL = re.compile(r"Tunnel connection failed: (\d{3})")

_RULES: tuple[tuple[_Kinds, Callable[[BaseException, Exchange, Phase, str], _Verdict]], ...] = (
    ((urllib3.exceptions.NewConnectionError,), _not_connected),
    (
        (
            TimeoutError,
            requests.Timeout,
            urllib3.exceptions.ConnectTimeoutError,
            urllib3.exceptions.ReadTimeoutError,
        ),
        _late,
    ),
    ((ssl.SSLCertVerificationError,), _untrusted),
    ((ssl.SSLError, urllib3.exceptions.SSLError, requests.exceptions.SSLError), _tls),
    (
        (
            http.client.IncompleteRead,
            urllib3.exceptions.IncompleteRead,
            requests.exceptions.ChunkedEncodingError,
        ),
        _cut,
    ),
    ((Unusable,), _unusable),
    ((ConnectionError, urllib3.exceptions.ClosedPoolError), _lost),  # http.client.RemoteDisconnected is one
    (
        (
            http.client.InvalidURL,
            requests.exceptions.InvalidURL,
            requests.exceptions.InvalidSchema,
            requests.exceptions.MissingSchema,
            requests.exceptions.InvalidHeader,
            requests.exceptions.TooManyRedirects,
            urllib3.exceptions.LocationValueError,
        ),
        _unsendable,
    ),
    (
        (
            http.client.HTTPException,
            urllib3.exceptions.DecodeError,
            urllib3.exceptions.InvalidHeader,
            urllib3.exceptions.HeaderParsingError,
            requests.exceptions.ContentDecodingError,
            requests.exceptions.InvalidJSONError,
        ),
        _garbled,
    ),
    ((OSError,), _lost),
    ((ValueError,), _unsendable),
)
"""Which cause counts, most telling first, and what it means. What is not here is judged by the phase alone."""
