"""Pauses between polls of batches, and the end of waiting."""

from stepsynth.errors import ProviderError
from stepsynth.llm.core.errors import RetryLaterError

FIRST_PAUSE_S, LONGEST_PAUSE_S, SLOWER = 5.0, 60.0, 1.5
"""Seconds between polls: the first pause after progress, the longest, and the factor of growth."""
LONGEST_WAIT_S = 600.0
"""Longest wait in seconds, whatever a provider asks for."""
FAILURES_IN_A_ROW = 12
"""Consecutive failed calls, with pauses between them, after which the run stops."""
RUN_ON = "batches that are out run on, nothing is lost: the same command collects them"


class Patience:
    """The pause before the next poll, which grows while nothing happens.

    Attributes:
        trouble: Why a call of this round failed; "" where none did.
    """

    def __init__(self) -> None:
        self.trouble = ""
        self._has_answered = False
        self._failures = 0
        self._pause_s, self._wait_s = FIRST_PAUSE_S, 0.0

    def note_answer(self) -> None:
        """Record that the provider has answered."""
        self._has_answered, self._failures = True, 0

    def note_failure(self, error: RetryLaterError) -> None:
        """Count a call that failed.

        Raises:
            ProviderError: There have been too many, or the endpoint was never there.
        """
        self._failures += 1
        self.trouble = error.message
        self._wait_s = min(max(self._wait_s, error.retry_after_s or 0), LONGEST_WAIT_S)
        was_never_there = error.is_unreachable and not self._has_answered
        if was_never_there or self._failures >= FAILURES_IN_A_ROW:
            raise ProviderError(error.message, hint=RUN_ON) from error

    def start_anew(self) -> None:
        """Shorten the pause after progress: more may come soon."""
        self._pause_s = FIRST_PAUSE_S

    def next_pause_s(self) -> float:
        """Return the seconds to wait now; the next pause is longer."""
        pause_s = max(self._pause_s, self._wait_s)
        self._pause_s, self._wait_s = min(self._pause_s * SLOWER, LONGEST_PAUSE_S), 0.0
        return pause_s
