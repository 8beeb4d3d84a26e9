"""Hours of the local day in which only what is urgent is sent."""

from __future__ import annotations

from datetime import datetime, time, timedelta, tzinfo


class QuietHours:
    """
    A span of the local day, maybe over midnight. Immutable.

    The clocks on the wall count: where they are set back within it, it is an hour longer, and an end that they
    skip comes when they have skipped it.

    Args:
        text: Two times such as ``"22:00-07:00"``, as :class:`failsafe.AlertConfig` checks them.
        zone: Whose local time is meant; None: this machine's.
    """

    __slots__ = ("_begin", "_end", "_zone")

    def __init__(self, text: str, zone: tzinfo | None = None) -> None:
        begin, _, end = text.partition("-")
        self._begin = time.fromisoformat(begin)
        self._end = time.fromisoformat(end)
        self._zone = zone

    def hold(self, wall: float) -> bool:
        """Whether *wall*, seconds since 1970-01-01 UTC, lies in them."""
        return self._within(datetime.fromtimestamp(wall, self._zone).time())

    def _within(self, now: time) -> bool:
        if self._begin <= self._end:
            return self._begin <= now < self._end
        return now >= self._begin or now < self._end

    def end_after(self, wall: float) -> float:
        """When those that hold at *wall* end, seconds since 1970-01-01 UTC; *wall* itself where none hold."""
        local = datetime.fromtimestamp(wall, self._zone)
        if not self._within(local.time()):
            return wall
        day = local.date() + timedelta(days=local.time() >= self._end)
        end = datetime.combine(day, self._end, self._zone)
        # An end that comes twice in the night in which clocks are set back is the first one, unless that has passed.
        ends = (end.timestamp(), end.replace(fold=1).timestamp())
        return next((each for each in ends if each > wall and not self.hold(each)), wall + _AN_HOUR)

    def __repr__(self) -> str:
        return f"<QuietHours {self._begin:%H:%M}-{self._end:%H:%M}>"


_AN_HOUR = 3600.0
