"""On material that lies beside the project: the mock LLM server and real recordings."""

from itertools import pairwise

import pytest

from tests.e2e.cli import ok, summary_of


@pytest.mark.parametrize("name", ["hyperbole", "tweet-sentiment"])
def test_real_recordings_are_replayed(replays, tmp_path, name):
    from pathlib import Path

    task = Path(__file__).parent.parent.parent / "reproduction" / "replays" / f"{name}.yaml"
    done = ok("run", task, "--out", tmp_path / "run", "--json", STEPSYNTH_REPLAYS=str(replays))
    rounds = summary_of(done)["rounds"]
    assert [r["round"] for r in rounds] == [0, 1, 2]
    assert rounds[0]["added"] in (260, 400)
    for before, after in pairwise(rounds):
        assert 0 < after["added"] <= before["misclassified"]
