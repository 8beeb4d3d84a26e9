"""Who is told what, and when: rules, grouping, and the ways out of the program."""

from __future__ import annotations

from failsafe.alerts.facade import Alerts

__all__ = ["Alerts"]
