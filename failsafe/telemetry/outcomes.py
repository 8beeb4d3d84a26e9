"""
What an attempt or a probe says about its provider.

======================================================  ==========  ================================================
what happened                                           counts as   because
======================================================  ==========  ================================================
an answer                                               answered    it works
a failure that its breaker counts (``blamed``)          failed      it speaks against the provider
``rate_limit``, ``model``, ``conflict``, ``context``,   other       the provider works, and refuses this request
``unsupported_parameter``, ``bad_request``,
``content_filter``
``auth``, ``permission``, ``quota``, ``misconfigured``  excused     a key, an account or a setting is wrong: whether
                                                                    the provider works, nobody knows
``network``, ``disconnected``, ``truncated``,           excused     it was this machine's network, or nobody knows
``malformed``, ``server``, ``overloaded``, not blamed               whose fault it was
``timeout``, ``connect_timeout``, not blamed            nothing     it was asked in too great a hurry
``cancelled``                                           nothing     the caller gave up
======================================================  ==========  ================================================
"""

from __future__ import annotations

from enum import StrEnum

from failsafe.faults import Fault


class Outcome(StrEnum):
    """The columns of a rollup that outcomes are counted in."""

    ANSWERED = "answered"
    FAILED = "failed"
    EXCUSED = "excused"
    OTHER = "other"


UNBLAMED: dict[Fault, Outcome | None] = {
    Fault.NETWORK: Outcome.EXCUSED,
    Fault.CONNECT_TIMEOUT: None,
    Fault.TIMEOUT: None,
    Fault.DISCONNECTED: Outcome.EXCUSED,
    Fault.TRUNCATED: Outcome.EXCUSED,
    Fault.MALFORMED: Outcome.EXCUSED,
    Fault.SERVER: Outcome.EXCUSED,
    Fault.OVERLOADED: Outcome.EXCUSED,
    Fault.CONFLICT: Outcome.OTHER,
    Fault.RATE_LIMIT: Outcome.OTHER,
    Fault.QUOTA: Outcome.EXCUSED,
    Fault.AUTH: Outcome.EXCUSED,
    Fault.PERMISSION: Outcome.EXCUSED,
    Fault.MODEL: Outcome.OTHER,
    Fault.MISCONFIGURED: Outcome.EXCUSED,
    Fault.CONTEXT: Outcome.OTHER,
    Fault.UNSUPPORTED_PARAMETER: Outcome.OTHER,
    Fault.BAD_REQUEST: Outcome.OTHER,
    Fault.CONTENT_FILTER: Outcome.OTHER,
    Fault.CANCELLED: None,
}
"""What each fault counts as that is not held against the provider; None: nothing."""


def outcome_of(fault: Fault | None, *, blamed: bool) -> Outcome | None:
    """
    What an attempt or a probe counts as; None: it says nothing.

    Args:
        fault: How it failed, or None for an answer.
        blamed: Whether the failure speaks against the provider, as :attr:`failsafe.models.Attempt.blamed`.
    """
    if fault is None:
        return Outcome.ANSWERED
    return Outcome.FAILED if blamed else UNBLAMED[fault]
