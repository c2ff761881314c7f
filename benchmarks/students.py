"""Speed of the trained students, as ratios of one run: `python -m benchmarks.students`.

The `transformer` student is compared with a plain loop that pads every row to 512 tokens, as S3's
official scripts do: same model, rows and steps. With STEPSYNTH_REPLAYS and STEPSYNTH_DATA the rows
are S3's training rows (IMDb, RTE) and QNLI's, else made-up ones of similar lengths.
"""

import os
import random
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.encoder import minilm
from benchmarks.measure import seconds
from stepsynth.records import Dataset, Example
from stepsynth.students import StudentFactory
from stepsynth.students._encoder import quiet
from stepsynth.students._student import FitCallbacks
from stepsynth.students.embedding import Embedding
from stepsynth.students.transformer import Transformer

ROWS = 192
BATCH = 16
TASKS = Path(__file__).parent.parent / "reproduction"


def plain_loop(encoder: str, data: Dataset, label_names: tuple[str, ...]) -> float:
    """Train one epoch, every row padded to 512 tokens; return rows/s after the first step."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    with quiet():
        tokenizer = AutoTokenizer.from_pretrained(encoder)
        model = AutoModelForSequenceClassification.from_pretrained(
            encoder, num_labels=len(label_names), dtype=torch.float32
        )
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model.to(device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-5)
    rows = list(data)
    random.Random(0).shuffle(rows)
    started = 0.0
    for at in range(0, len(rows), BATCH):
        batch = rows[at : at + BATCH]
        pairs = [row.context for row in batch] if batch[0].context is not None else None
        inputs = tokenizer(
            [row.text for row in batch],
            pairs,
            padding="max_length",
            truncation=True,
            max_length=512,
            return_tensors="pt",
        ).to(device)
        labels = torch.tensor([label_names.index(str(row.label)) for row in batch], device=device)
        model(**inputs, labels=labels).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        started = started or time.perf_counter()
    return (len(rows) - BATCH) / (time.perf_counter() - started)


def student(encoder: str, data: Dataset, label_names: tuple[str, ...]) -> float:
    """Train one epoch with the `transformer` student; return rows/s after the first step."""
    times: list[float] = []
    callbacks = FitCallbacks(on_progress=lambda *_: times.append(time.perf_counter()))
    spec = Transformer(model=encoder, batch_size=BATCH, epochs=1)
    StudentFactory(spec, label_names, 0, callbacks=callbacks).new().fit(data)
    return (len(data) - BATCH) / (times[-1] - times[0])


def training_sets() -> Iterator[tuple[str, tuple[str, ...], Dataset]]:
    """Yield the name, the labels and the rows of each training set."""
    import stepsynth
    from stepsynth.inputs import read_gold
    from stepsynth.taskfile.config import load_config

    rng = random.Random(0)
    if "STEPSYNTH_REPLAYS" in os.environ and "STEPSYNTH_DATA" in os.environ:
        for name in ("imdb", "rte"):
            path = TASKS / ("replays" if name == "imdb" else "families") / f"{name}.yaml"
            with tempfile.TemporaryDirectory() as folder:
                done = stepsynth.run(path, out=Path(folder) / "run")
                yield name, load_config(path).task.label_names, done.dataset
        config = load_config(TASKS / "families" / "qnli.yaml")
        yield "qnli", config.task.label_names, read_gold(config, print).gold
        return
    for name, words in (("made, 110 words", 110), ("made, 45 words", 45)):
        made = (
            Example(
                " ".join(
                    rng.choices(["film", "plot", "great", "dull"], k=rng.randint(9, 2 * words))
                ),
                rng.choice("ab"),
            )
            for _ in range(2000)
        )
        yield name, ("a", "b"), Dataset(made)


def embedding_rounds(encoder: str) -> tuple[float, float]:
    """Return the seconds of a first round on 5,000 rows, and of a next one with 500 more."""
    rng = random.Random(0)
    words = ["".join(rng.choices("abcdefghijklmnop", k=rng.randint(2, 9))) for _ in range(5000)]
    rows = [Example(" ".join(rng.choices(words, k=20)), rng.choice("ab")) for _ in range(5500)]
    factory = StudentFactory(Embedding(model=encoder), ("a", "b"), 0)
    factory.spec.check()
    first = seconds(lambda: factory.new().fit(Dataset(rows[:5000])))
    return first, seconds(lambda: factory.new().fit(Dataset(rows)))


def main() -> None:
    """Measure and print."""
    encoder = minilm()
    print(f"training rows/s, one epoch on {ROWS} rows, {BATCH} a step, after the first step:")
    for name, label_names, data in training_sets():
        sample = Dataset(random.Random(0).sample(list(data), ROWS))
        ours = student(encoder, sample, label_names)
        plain = plain_loop(encoder, sample, label_names)
        print(
            f"  {name:16} padded to 512: {plain:6.1f} rows/s   transformer student: "
            f"{ours:6.1f} rows/s   {ours / plain:.1f} x",
            flush=True,
        )
    first, second = embedding_rounds(encoder)
    print("embedding student:")
    print(f"  first round, 5,000 rows    {first:6.2f} s")
    print(
        f"  a round that adds 500      {second:6.2f} s   {100 * second / first:.0f} % of the first"
    )


if __name__ == "__main__":
    main()
