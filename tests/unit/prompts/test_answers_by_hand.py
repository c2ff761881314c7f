"""Answers of two small LLMs, each read by a person: is it a text, or talk in place of one?

`answers/answers.jsonl` has what SmolLM2-135M-Instruct and Qwen2.5-Coder-0.5B-Instruct (both
Apache-2.0) wrote for the tasks beside it, whose gold texts were written for them. Three template
sets asked for it: ours (with a length where `length` says so), a classifier's instruction with a
list of don'ts, and S3's plain ones. A person's verdict is "text" (it could stand among the gold
texts, whatever its label), "talk" (no one would train on it), or "either" (a text in another's
words, one inside talk): those are not counted. What the LLM's bound cut off is left out: the reader
is told of that. The reader was tuned on `tuned`; the answers of `held_out` were drawn, judged and
read after that, and nothing was changed for them.
"""

import json
from collections import Counter
from pathlib import Path

import pytest

from stepsynth.records import Example, Rejected
from stepsynth.tasks.classification import Classification
from stepsynth.tasks.sentence_pair import SentencePair

HERE = Path(__file__).parent / "answers"
KINDS = {"classification": Classification, "sentence_pair": SentencePair}
BAND = (8, 30)  # words that our templates asked for


def read(row, tasks):
    """Return the reader's verdict for an answer: a row, or why there is none."""
    values = dict(tasks[row["task"]])
    kind = KINDS[values.pop("kind")]
    task = kind(**values, length=BAND if row.get("length") else None)
    like = Example(row.get("source", ""), row["label"], row.get("context"))
    return task.parse_example(row["answer"], like, truncated=False)


def counts(half):
    """Return how often the reader threw away what a person calls "talk", and "text"."""
    tasks = json.loads((HERE / "tasks.json").read_text(encoding="utf-8"))
    found = Counter()
    for line in (HERE / "answers.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        if row["half"] == half:
            found[row["verdict"], isinstance(read(row, tasks), Rejected)] += 1
    return found


@pytest.mark.slow
@pytest.mark.parametrize("half", ["tuned", "held_out"])
def test_talk_is_thrown_away_and_texts_are_kept(half):
    found = counts(half)
    talk = found["talk", True] + found["talk", False]
    texts = found["text", True] + found["text", False]
    assert talk > 40
    assert texts > 40
    assert found["talk", True] >= 0.8 * talk
    assert found["text", True] < 0.02 * texts
