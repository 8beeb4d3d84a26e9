"""Where the files of the top-level ``assets/`` folder are found."""

from __future__ import annotations

from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path


def asset(name: str) -> Traversable:
    """
    Return the asset *name*, e.g. ``"failsafe.svg"``.

    A wheel carries ``assets/`` inside this package; a checkout, and so an editable install, has it
    at the top, beside ``gui/``.

    Raises:
        FileNotFoundError: There is no asset of that name.
    """
    packaged = files("failsafe_gui").joinpath("assets", name)
    found = packaged if packaged.is_file() else Path(__file__).resolve().parents[2] / "assets" / name
    if not found.is_file():
        raise FileNotFoundError(f"failsafe has no asset {name!r}")
    return found
