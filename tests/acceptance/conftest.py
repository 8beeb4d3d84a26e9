"""Fixtures of the tests of whole calls."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from failsafe.sim import FakeCloud, FakeProvider


@pytest.fixture
def cloud() -> Iterator[FakeCloud]:
    """Three healthy providers, one a dialect."""
    with FakeCloud.of("openai", "anthropic", "gemini") as providers:
        yield providers


@pytest.fixture
def trap() -> Iterator[FakeProvider]:
    """A server that nothing may reach."""
    with FakeProvider("trap", vendor="openai", key=None) as provider:
        yield provider
