"""On material that lies beside the project: the mock LLM server and real recordings."""

import json
import urllib.request
from itertools import pairwise

import pytest

from tests.e2e.cli import stepsynth, summary_of


def test_500_requests_from_few_prompts_give_500_texts_and_nothing_is_asked_twice(
    mock_url, replays, tmp_path
):
    task = tmp_path / "imdb.yaml"
    task.write_text(
        f"""\
task: {{recipe: imdb}}
data:
  gold: {replays}/imdb/gold.jsonl.gz
  split: {{mine: 100, select: 50, test: 100}}
llm: {{backend: openai_compatible, base_url: "{mock_url}/v1", model: mock}}
method: {{name: zerogen, seed_size: 500}}
"""
    )
    first = stepsynth("run", task, "--out", tmp_path / "a", "--json")
    assert first.returncode == 0, first.stderr
    assert summary_of(first)["llm"]["requests"] == 500
    data = (tmp_path / "a/dataset.jsonl").read_bytes()
    texts = [json.loads(line)["text"] for line in data.splitlines()]
    assert len(set(texts)) == 500
    again = stepsynth("run", task, "--out", tmp_path / "a", "--json")
    assert summary_of(again)["llm"]["requests"] == 0
    assert (tmp_path / "a/dataset.jsonl").read_bytes() == data
    fresh = stepsynth("run", task, "--out", tmp_path / "b")
    assert fresh.returncode == 0
    assert (tmp_path / "b/dataset.jsonl").read_bytes() == data
    with urllib.request.urlopen(f"{mock_url}/stats") as answer:
        assert json.load(answer)["requests"] == 1000


@pytest.mark.parametrize("name", ["hyperbole", "tweet-sentiment"])
def test_real_recordings_are_replayed(replays, tmp_path, name):
    from pathlib import Path

    task = Path(__file__).parent.parent.parent / "reproduction" / "replays" / f"{name}.yaml"
    done = stepsynth(
        "run", task, "--out", tmp_path / "run", "--json", STEPSYNTH_REPLAYS=str(replays)
    )
    assert done.returncode == 0, done.stderr
    rounds = summary_of(done)["rounds"]
    assert [r["round"] for r in rounds] == [0, 1, 2]
    assert rounds[0]["added"] in (260, 400)
    for before, after in pairwise(rounds):
        assert 0 < after["added"] <= before["misclassified"]
