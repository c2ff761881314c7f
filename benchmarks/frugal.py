"""Tokens for each kept row: `python -m benchmarks.frugal`.

`zerogen` writes 200 support tickets with the default prompts over HTTP, as with a real endpoint.
The mock server counts: a token is four characters of a prompt, or one of the 64 words of a ticket.
Four labels are four prompts, each sent 50 times: only repeated prompts can save tokens.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.mock_server import MockServer

ROWS, SEVERAL = 200, 4
WAYS = {
    "one text for each request": [],
    f"llm.n: {SEVERAL}": [f"llm.n={SEVERAL}"],
    f"texts_per_prompt: {SEVERAL}": [f"method.texts_per_prompt={SEVERAL}"],
    "both": [f"llm.n={SEVERAL}", f"method.texts_per_prompt={SEVERAL}"],
}


TASK = """\
task:
  instruction: >-
    Decide which team of a parcel service has to answer a support ticket. Delivery deals with
    parcels that are late, lost or at the wrong door; damage with what arrived broken or wet;
    billing with invoices, refunds and customs; account with log-in, addresses and privacy.
  text_name: support ticket
  labels: {delivery: delivery, damage: damage, billing: billing, account: account}
data: {gold: gold.jsonl, split: {mine: 8, select: 8, test: 8}}
"""
LABELS = ("delivery", "damage", "billing", "account")


def run(url: str, changes: list[str], folder: Path) -> dict[str, Any]:
    """Return the summary of a run with some keys changed."""
    rows = ({"text": f"ticket {i} for {LABELS[i % 4]}", "label": LABELS[i % 4]} for i in range(24))
    (folder / "gold.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    task = folder / "task.yaml"
    task.write_text(
        f"{TASK}llm: {{backend: openai_compatible, base_url: '{url}', model: mock}}\n"
        f"method: {{name: zerogen, seed_size: {ROWS}}}\n"
    )
    command = [sys.executable, "-m", "stepsynth", "run", str(task), "--out", str(folder / "run")]
    sets = [part for change in changes for part in ("--set", change)]
    done = subprocess.run([*command, "--json", *sets], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Measure and print."""
    print(f"zerogen, {ROWS} rows, tokens for each row that is kept:")
    print(f"{'':26} {'requests':>8} {'rows':>6} {'prompt':>8} {'answer':>8} {'prompt, x':>9}")
    before = 0.0
    for name, changes in WAYS.items():
        with MockServer() as server, tempfile.TemporaryDirectory() as folder:
            summary = run(server.url, changes, Path(folder))
            requests = server.stats().requests
        rows = sum(each["added"] for each in summary["rounds"])
        prompt, answer = (summary["llm"][f"{k}_tokens"] / rows for k in ("prompt", "completion"))
        before = before or prompt
        print(
            f"{name:26} {requests:8,} {rows:6,} {prompt:8.1f} {answer:8.1f} {prompt / before:9.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
