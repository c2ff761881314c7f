"""A small run to review: errors, the rows written for them, and hostile texts among these."""

import json
from pathlib import Path

import stepsynth
from stepsynth.runfolder import Run

HOSTILE = (
    "<script>alert(1)</script><img src=x onerror=alert(2)> \"' & {{ 7*7 }}",
    "an apple \u202e desrever si siht \u0007 bell",
    "apple " + "very long line " * 70_000,
    "</script><!-- <style>*{display:none}</style> apple",
)
"""What an LLM may write: markup, commands to the screen, a text of a million characters."""


def make_run(folder: Path, *, hostile: bool = False) -> Run:
    """Run S3 with rules for an LLM, on gold of which some labels are wrong."""
    other = {"apple": "pear", "pear": "apple"}
    gold = [
        {"text": f"{fruit} {word} {i}", "label": other[fruit] if i % 5 == 0 else fruit}
        for fruit, words in (("apple", ("red", "crisp")), ("pear", ("soft", "green")))
        for i in range(12)
        for word in words
    ]
    refusals = ["I cannot write that."] * 200
    rules = [
        {
            "pattern": f"that is {fruit}",
            "answers": [*(f"{fruit} note {i}" for i in range(400)), *refusals],
        }
        for fruit in other
    ]
    method = {"name": "s3", "rationales": False, "seed_size": 24, "rounds": 1}
    done = stepsynth.synthesize(
        {"labels": ["apple", "pear"]},
        gold,
        llm={"backend": "scripted", "rules": rules},
        method={**method, "extrapolations_per_error": 3, "drop_duplicates": True},
        out=folder,
        name="fruit",
    )
    if hostile:
        file = done.folder / "rounds/0/examples.jsonl"
        rows = [json.loads(line) for line in file.read_text().splitlines()]
        for row, text in zip(rows, HOSTILE, strict=False):
            row["text"] = text
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return stepsynth.open_run(done.folder)
