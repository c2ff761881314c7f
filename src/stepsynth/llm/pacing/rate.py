"""So many units a minute: requests, prompt tokens, completion tokens."""

CATCH_UP_S = 0.05
"""A sender that was late by so much may catch up, and no more."""


class Rate:
    """At most so many units in any minute, evenly spaced.

    Args:
        per_minute: Units; None: as many as one likes.
    """

    def __init__(self, per_minute: float | None) -> None:
        # What may be caught up must not be too much for any minute either.
        self._seconds_each = (60 + CATCH_UP_S) / per_minute if per_minute else 0.0
        self.is_set = per_minute is not None
        self.at = 0.0
        self._foreseen = 0.0

    def take(self, units: float, now: float) -> None:
        """Count units that are sent now, as is foreseen; those that come next wait for theirs."""
        if self.is_set:
            self._foreseen += units
            self.at = max(self.at, now - CATCH_UP_S) + units * self._seconds_each

    def correct(self, units: float, in_flight: int) -> None:
        """Replace what was foreseen for one of the attempts in flight by what it was."""
        if self.is_set:
            foreseen = self._foreseen / in_flight
            self._foreseen -= foreseen
            self.at += (units - foreseen) * self._seconds_each
