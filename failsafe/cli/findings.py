"""What ``failsafe check`` finds: with the settings alone, and by asking each provider."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from typing import NamedTuple

from failsafe.cli.settings import cheapest_model
from failsafe.config import ProviderConfig, RouterConfig
from failsafe.deadline import CancelToken
from failsafe.diagnosis import settings
from failsafe.errors import CallFailed, FailsafeError
from failsafe.monitoring_config import StoreConfig
from failsafe.policy_config import RetryConfig
from failsafe.router import Router

_AT_ONCE = 16


class Finding(NamedTuple):
    """One thing that was looked at; ``level`` is ``ok``, ``warning`` or ``error``."""

    level: str
    subject: str
    text: str


def inspect(config: RouterConfig, today: date) -> Iterator[Finding]:
    """What can be said of *config* without sending anything; models are dead or alive as of *today*."""
    for found in settings.inspect(config, today):
        yield Finding(str(found.level), found.subject, found.found)


def ask_all(providers: Sequence[ProviderConfig], timeout: float, store: StoreConfig | None = None) -> list[Finding]:
    """
    Ask each of *providers* for one short answer, all at once, each within *timeout* seconds; recorded in *store*.

    An interruption ends the calls under way as well.
    """
    cancel = CancelToken()
    with ThreadPoolExecutor(min(len(providers), _AT_ONCE), thread_name_prefix="failsafe-check") as pool:
        try:
            return list(pool.map(lambda provider: _ask(provider, timeout, store or StoreConfig(), cancel), providers))
        except BaseException:
            cancel.cancel()
            raise


def _ask(provider: ProviderConfig, timeout: float, store: StoreConfig, cancel: CancelToken) -> Finding:
    model = cheapest_model(provider)
    if model is None:
        return Finding("warning", provider.name, "was not asked: no model of its is known; list them as models = [...]")
    alone = RouterConfig(providers=[provider], retry=RetryConfig(max_retries=0), store=store)
    with Router(alone) as router:
        try:
            reply = router.chat(
                "Reply with: OK", model=f"{provider.name}:{model}", timeout=timeout, cancel=cancel, max_tokens=16
            )
        except CallFailed as error:
            said = error.attempts[-1].message if error.attempts else str(error)
            return Finding("error", provider.name, f"asked for {model}: {said}")
        except FailsafeError as error:
            return Finding("error", provider.name, str(error))
    return Finding("ok", provider.name, f"{reply.model} answered in {reply.latency_ms:.0f} ms")
