"""How large one request is, worked out when somebody asks."""

from __future__ import annotations

from functools import cached_property

from failsafe import estimates
from failsafe.catalog import ModelInfo
from failsafe.models import ChatRequest


class RequestSize:
    """
    Estimates of one request, each made once and only if it is needed. Lives in the threads of one call.

    Args:
        request: What is asked.
    """

    def __init__(self, request: ChatRequest) -> None:
        self.request = request

    @cached_property
    def prompt_tokens(self) -> int:
        """Tokens of the prompt."""
        return estimates.prompt_tokens(self.request)

    @cached_property
    def answer_tokens(self) -> int:
        """Tokens that the answer is assumed to have at most."""
        return estimates.answer_tokens(self.request)

    @property
    def tokens(self) -> int:
        """Both together, as limits on tokens count them."""
        return self.prompt_tokens + self.answer_tokens

    def fits(self, info: ModelInfo) -> bool:
        return estimates.fits(info, self.prompt_tokens, self.request.parameters.get("max_tokens"))

    def cost_usd(self, price):
        return estimates.cost_usd(price, self.prompt_tokens, self.answer_tokens)
