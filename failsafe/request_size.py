"""How large one request is, worked out when somebody asks."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cached_property

from failsafe import estimates
from failsafe.catalog import ModelInfo
from failsafe.clock import Clock
from failsafe.models import ChatRequest
from failsafe.pricing import Prices, cost_usd, rates_at


class RequestSize:
    """
    Estimates about one request, each made once and only if it is needed.

    Args:
        request: What is asked.
        clock: Says at which time of day, for prices that depend on it.
    """

    def __init__(self, request: ChatRequest, clock: Clock) -> None:
        self.request = request
        self._clock = clock
        self._costs: dict[int, tuple[Prices, float | None]] = {}  # which hold the prices, so that their ids stay theirs

    @cached_property
    def prompt_tokens(self) -> int:
        """About how many tokens the prompt has."""
        return estimates.prompt_tokens(self.request)

    @cached_property
    def tokens(self) -> int:
        """About how many prompt and answer have together, as limits on tokens count them."""
        return self.prompt_tokens + estimates.answer_tokens(self.request)

    def fits(self, info: ModelInfo) -> bool:
        """Whether the model is thought to read so long a prompt."""
        return estimates.fits(info, self.prompt_tokens, self.request.parameters.get("max_tokens"))

    def cost_usd(self, prices: Prices) -> float | None:
        """About what the call costs in USD at these prices; None where none is known."""
        found = self._costs.get(id(prices))
        if found is None or found[0] is not prices:
            found = self._costs[id(prices)] = prices, self._cost_usd(prices)
        return found[1]

    def _cost_usd(self, prices: Prices) -> float | None:
        rates = rates_at(prices, datetime.fromtimestamp(self._clock.time(), UTC), self.prompt_tokens)
        if rates is None:
            return None
        return cost_usd(rates, prompt_tokens=self.prompt_tokens, answer_tokens=estimates.answer_tokens(self.request))
