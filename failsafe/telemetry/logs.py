"""Events as log records of the logger ``failsafe``."""

from __future__ import annotations

import logging

from failsafe.durations import in_words
from failsafe.events import (
    CLOSED,
    AttemptFinished,
    CallFinished,
    CircuitState,
    CommandCarriedOut,
    Event,
    ModelSubstituted,
    NetworkChanged,
    ProbeFinished,
    PutOff,
    StateChanged,
    StatusChanged,
    WatchChanged,
)
from failsafe.masking import mask

logger = logging.getLogger("failsafe")
logger.addHandler(logging.NullHandler())  # silent until the program says where its log goes, as a library should be


def log_event(event: Event) -> None:
    """
    Write *event* as one record, at the level of its urgency.

    WARNING for what a person may have to act on (a breaker opens, a key is rejected, another model
    answers), INFO for failed attempts, cooldowns and recoveries, DEBUG for what went well.
    """
    match event:
        case AttemptFinished():
            _log_attempt(event)
        case CallFinished():
            _log_call(event)
        case StateChanged():
            level = logging.WARNING if event.new is CircuitState.OPEN else logging.INFO
            logger.log(level, "breaker %s: %s -> %s (%s)", event.name, event.old, event.new, event.reason)
        case PutOff():
            level = logging.WARNING if event.alert else logging.INFO
            what = " ".join(filter(None, (event.key and f"key {event.key}", event.model and mask(event.model))))
            logger.log(
                level, "%s%s left alone for %s: %s; %s",
                event.provider, f" ({what})" if what else "", in_words(event.seconds), event.message, event.advice,
            )  # fmt: skip
        case ModelSubstituted():
            asked = mask(event.asked_model)
            logger.warning("%s answered with %s where %s was asked", event.provider, event.model, asked)
        case _:
            _log_watch(event)


def _log_watch(event: Event) -> None:
    """What a monitor has seen, or a person has done."""
    match event:
        case ProbeFinished() if event.fault is None:
            logger.debug("probe of %s (%s) answered in %.0f ms", event.provider, event.kind, event.latency_ms)
        case ProbeFinished():
            logger.info(
                "probe of %s (%s) failed after %.0f ms: %s: %s",
                event.provider, event.kind, event.latency_ms, event.fault, event.message,
            )  # fmt: skip
        case StatusChanged():
            logger.info("%s: %s -> %s (%s)", event.provider, event.old, event.new, event.reason)
        case NetworkChanged():
            level, state = (logging.INFO, "back") if event.up else (logging.WARNING, "gone")
            logger.log(level, "this machine's network is %s (%s)", state, event.reason)
        case WatchChanged():
            logger.info("%s is %s from now on%s", event.provider, event.state, f" ({event.note})" if event.note else "")
        case CommandCarriedOut():
            logger.warning(
                "command %s of %s for %s: %s",
                event.action,
                event.origin,
                event.provider or "every provider",
                event.outcome,
            )


def _log_attempt(event: AttemptFinished) -> None:
    attempt = event.attempt
    if attempt.fault is None:
        logger.debug("%s %s answered in %.0f ms", event.call_id, attempt.provider, attempt.latency_ms)
        return
    logger.info(
        "%s %s failed after %.0f ms: %s: %s",
        event.call_id, attempt.provider, attempt.latency_ms, attempt.fault, attempt.message,
    )  # fmt: skip


def _log_call(event: CallFinished) -> None:
    if event.error is None:
        logger.debug("%s answered by %s in %.0f ms", event.call_id, event.provider, event.latency_ms)
    elif event.error == CLOSED:
        logger.debug("%s closed by its reader after %.0f ms", event.call_id, event.latency_ms)
    else:
        logger.info(
            "%s failed with %s after %d attempts in %.0f ms",
            event.call_id, event.error, event.attempts, event.latency_ms,
        )  # fmt: skip
