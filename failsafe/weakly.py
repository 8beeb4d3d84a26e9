"""Callbacks that do not keep their object alive."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


def weakly(method: Callable[P, R], *, otherwise: R) -> Callable[P, R]:
    """The bound *method* as a function that does not keep its object alive; once that is gone, returns *otherwise*."""
    reference = weakref.WeakMethod(method)

    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        alive = reference()
        return otherwise if alive is None else alive(*args, **kwargs)

    return call
