"""Kill -9 at random moments: what was paid for is kept, and the results are the same bytes."""

from benchmarks.kill import GROUP, run_killed

ROWS, TIMES, IN_FLIGHT = 3000, 5, 64


def test_a_run_that_is_killed_again_and_again_asks_again_only_for_what_was_in_flight(tmp_path):
    outcome = run_killed(ROWS, TIMES, tmp_path, in_flight=IN_FLIGHT, random_seed=1)
    assert len(outcome.sent_again) == TIMES
    # Some kill must have hit requests on their way, or this would show nothing.
    assert 0 < max(outcome.sent_again) <= IN_FLIGHT + GROUP
    assert outcome.is_same
