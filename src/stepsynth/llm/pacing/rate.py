"""Rate limits: units a minute, of requests, prompt tokens or completion tokens."""

CATCH_UP_S = 0.05
"""Seconds that a late sender may catch up: the burst of the token bucket."""


class Rate:
    """A token bucket with next to no burst, so that units are spaced evenly.

    Args:
        per_minute: Most units in any minute; None for no limit.
    """

    def __init__(self, per_minute: float | None) -> None:
        # Any minute must hold the limit with the burst in it.
        self._seconds_each = (60 + CATCH_UP_S) / per_minute if per_minute else 0.0
        self.is_set = per_minute is not None
        self.at = 0.0
        self._foreseen = 0.0

    def take(self, units: float, now: float) -> None:
        """Count units sent now, as estimated; the next ones wait until these are paid off."""
        if self.is_set:
            self._foreseen += units
            self.at = max(self.at, now - CATCH_UP_S) + units * self._seconds_each

    def correct(self, units: float, in_flight: int) -> None:
        """Replace the estimate for one attempt in flight (their mean) by its actual units."""
        if self.is_set:
            foreseen = self._foreseen / in_flight
            self._foreseen -= foreseen
            self.at += (units - foreseen) * self._seconds_each
