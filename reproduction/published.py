"""Studies of published synthetic data: the tables of `docs/results.md`.

    STEPSYNTH_DATA=/path/to/data python -m reproduction.published [--only imdb] [--sample 250]

`diversity` and `labels` on every set of `published-synthetic`, and on the rows that S3's authors
published, each against its gold data. `lsa` vectors use up to 1,000 rows of each set, a sentence
encoder `--sample` rows. Findings stay in `.bench/published`, so a stopped command resumes; the
tables go to stdout and `.bench/published.md`.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.encoder import minilm
from reproduction.live import data_folder
from stepsynth._util.rng import make_rng
from stepsynth.data import DataSection
from stepsynth.data.rows import read_file
from stepsynth.llm.engine.limits import Limits
from stepsynth.methods.gold import Gold
from stepsynth.records import Dataset, union
from stepsynth.students.linear import Linear
from stepsynth.studies import Findings, StudiedRun, Study, Table
from stepsynth.studies._sampling import draw, halve
from stepsynth.studies.diversity import Diversity
from stepsynth.studies.labels import Labels
from stepsynth.taskfile.config import Config
from stepsynth.tasks import Task
from stepsynth.tasks.classification import Classification
from stepsynth.tasks.sentence_pair import SentencePair

OUT = Path(".bench/published")
ROWS = 1000
MINE = {"imdb": 2000}  # long texts: a judge on all 10,000 takes half an hour
SYNTHETIC = "published-synthetic"
ENTAILMENT = ["entailment", "not_entailment"]


@dataclass(frozen=True)
class Family:
    """Published sets of one task, with its gold data.

    Attributes:
        sets: Name -> file in the data folder.
        mine: Gold files to train the judge on.
        unseen: Gold files to compare with; none: the second half of `mine`.
        columns: Field of an example -> column, where they differ.
    """

    name: str
    task: Task
    sets: dict[str, str]
    mine: tuple[str, ...] = ()
    unseen: tuple[str, ...] = ()
    columns: tuple[tuple[str, str], ...] = ()


NLI = (("text", "hypothesis"), ("context", "premise"))


def families() -> Iterator[Family]:
    """Yield the studied families. In pairs, the LLM wrote the text for a given context.

    DISCO rewrote premises, so its text is the premise. In WANLI both sides are written, and the
    hypothesis is studied. These two and MNLI have no gold data here.
    """
    sentiment = Classification.model_validate({"labels": ["negative", "positive"]})
    tweets = Classification.model_validate({"labels": ["positive", "neutral", "negative"]})
    hyperbole = Classification.model_validate({"labels": ["hyperbole", "not hyperbole"]})
    pairs, three = (
        SentencePair.model_validate({"labels": ENTAILMENT}),
        [*ENTAILMENT[:1], "neutral", "contradiction"],
    )
    nli = SentencePair.model_validate({"labels": three})
    yield Family(
        "sst2",
        sentiment,
        {"supergen (CTRL 1.6B)": f"{SYNTHETIC}/supergen-sst2/train.jsonl.gz"},
        ("sst2/train.jsonl",),
        ("sst2/validation.jsonl", "sst2/test.jsonl"),
    )
    yield Family(
        "qnli",
        pairs,
        {"supergen (CTRL 1.6B)": f"{SYNTHETIC}/supergen-qnli/train.jsonl.gz"},
        ("qnli-from-squad/train.jsonl.gz",),
        ("s3-qnli/test_gold.jsonl",),
        (("text", "question"), ("context", "sentence")),
    )
    yield Family(
        "rte",
        pairs,
        {
            "supergen (CTRL 1.6B)": f"{SYNTHETIC}/supergen-rte/train.jsonl.gz",
            "s3, round 1 (GPT-3.5)": "s3-rte/ees_round1.jsonl",
            "s3, round 2 (GPT-3.5)": "s3-rte/ees_round2.jsonl",
        },
        ("s3-rte/train_gold.jsonl", "s3-rte/test_gold.jsonl"),
        columns=NLI,
    )
    for name, found in (
        ("tweet-sentiment", tweets),
        ("hyperbole", hyperbole),
    ):
        folder = f"{SYNTHETIC}/parrot-{name}"
        sets = {
            "gpt-4": f"{folder}/train_gpt-4.jsonl",
            "llama-2-70b": f"{folder}/train_llama-2-70b.jsonl",
        }
        mine = (f"{folder}/base.jsonl", f"{folder}/train_human.jsonl")
        if name == "hyperbole":  # 323 test rows are too few for a comparison
            yield Family(name, found, sets, (*mine, f"{folder}/test.jsonl"))
        else:
            yield Family(name, found, sets, mine, (f"{folder}/test.jsonl.gz",))
    for kind, task, column, file in (
        ("mnli (no gold here)", nli, NLI, "supergen-mnli"),
        ("wanli (no gold here)", nli, NLI, "wanli"),
        (
            "snli (no gold here)",
            nli,
            (("text", "premise"), ("context", "hypothesis")),
            "disco-snli",
        ),
    ):
        yield Family(
            kind, task, {file: f"{SYNTHETIC}/{file}/train.jsonl.gz"}, columns=tuple(column)
        )
    yield Family(
        "imdb",
        sentiment,
        {
            **{
                f"fusegen, {llm}": f"{SYNTHETIC}/fusegen-imdb/train_{llm}.jsonl"
                for llm in (
                    "gpt-3.5-turbo-instruct",
                    "gpt-4-turbo-preview",
                    "llama-2-7b-chat",
                    "vicuna-7b-v1.5",
                    "flan-t5-xl",
                    "gpt2-xl",
                )
            },
            "s3, round 1 (GPT-3.5)": "s3-imdb/ees_round1.jsonl",
            "s3, round 2 (GPT-3.5)": "s3-imdb/ees_round2.jsonl",
        },
        ("imdb/train.jsonl.gz",),
        ("imdb/test.jsonl.gz",),
    )


def read(family: Family, files: Sequence[str]) -> Dataset:
    """Return the rows of files, gzipped or not."""
    root, columns = data_folder(f"{SYNTHETIC}/, ..."), dict(family.columns)
    found = [p if (p := root / file).exists() else root / f"{file}.gz" for file in files]
    return union(*(read_file(path, family.task, columns) for path in found))


def subjects(family: Family) -> list[StudiedRun]:
    """Return the sets of a family with their gold."""
    mine, unseen = read(family, family.mine), read(family, family.unseen)
    if mine and not unseen:
        mine, unseen = halve(mine, make_rng(0, "published", family.name))
    mine = draw(mine, MINE.get(family.name, len(mine)), make_rng(0, "published", "mine"))
    config = Config(
        family.name, family.task, DataSection(gold="(given)"), None, Linear(), Gold(), Limits(), 0
    )
    return [
        StudiedRun(name, read(family, [file]), mine, Dataset(), unseen, config)
        for name, file in family.sets.items()
    ]


def found_by(study: Study, family: Family, key: str) -> Findings:
    """Return the findings of a study; earlier findings are read from disk."""
    path = OUT / f"{family.name.split()[0]}-{key}.json"
    if path.exists():
        return Findings.from_dict(json.loads(path.read_text(encoding="utf-8")))
    findings = study.run(subjects(family))
    OUT.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(findings.to_dict(), ensure_ascii=False), encoding="utf-8")
    print(f"done: {family.name}, {key}", flush=True)
    return findings


def lines_of(findings: Findings, start: str, columns: Sequence[str]) -> dict[str, list[Any]]:
    """Return set -> named cells of the table whose title has this prefix; {} without a table."""
    for table in findings.tables:
        if table.title.startswith(start):
            places = [table.columns.index(column) for column in columns]
            return {str(row[0]): [row[i] for i in places] for row in table.rows}
    return {}


WORDS = ("rows", "studied", "copies", "tokens a text", "vocabulary", "distinct-1", "distinct-2")
BLEU = (*(f"self-BLEU-{n}" for n in range(1, 6)), "standard error")
NEAR = ("rows of each", "MAUVE", "MAUVE, gold itself", "AUC, words", "from", "to")
VECTORS = ("AUC, vectors", "from ", "to ")


def diversity_tables(chosen: Sequence[Family], sample: int) -> Iterator[Table]:
    """Yield the tables of words, of nearest neighbours and of effective numbers."""
    words: list[tuple[Any, ...]] = []
    near: list[tuple[Any, ...]] = []
    meaning: list[tuple[Any, ...]] = []
    for family in chosen:
        lsa = found_by(Diversity(sample=ROWS), family, f"diversity-lsa-{ROWS}")
        encoder = Diversity(sample=sample, encoder=minilm())
        dense = found_by(encoder, family, f"diversity-minilm-{sample}")
        bleu = lines_of(lsa, "Self-BLEU", BLEU)
        words += [
            (family.name, name, *cells, *bleu[name])
            for name, cells in lines_of(lsa, "Words", WORDS).items()
        ]
        by_vectors = lines_of(dense, "Against", ("rows of each", "MAUVE", *VECTORS))
        yardstick = lines_of(dense, "Against", ("MAUVE, gold itself",))
        near += [
            (family.name, name, *cells, *by_vectors[name], *yardstick[name])
            for name, cells in lines_of(lsa, "Against", NEAR).items()
        ]
        columns = ("texts", "Vendi", "G-Vendi")
        by_encoder = lines_of(dense, "Meaning", columns)
        meaning += [
            (family.name, name, *cells, *by_encoder[name])
            for name, cells in lines_of(lsa, "Meaning", columns).items()
        ]
    yield Table(
        "Words of published synthetic sets",
        ("task", "set", *WORDS, *BLEU),
        tuple(words),
        "As many random rows of each set of a task as the smallest has (`studied`). Self-BLEU: "
        "each text against all others studied, smoothing method 1; lower is more diverse.",
    )
    yield Table(
        "Published synthetic sets against gold",
        (
            *("task", "set", "n", "MAUVE, lsa", "gold itself", "AUC, words", "from", "to"),
            *("n ", "MAUVE, MiniLM", "AUC, MiniLM", "from ", "to ", "gold itself "),
        ),
        tuple(near),
        "n: different texts, as many of each label on both sides. MAUVE: 30 buckets, scaling "
        "factor 5, features as named, not GPT-2's. Gold itself: MAUVE of one half "
        "of gold against the other. AUC: of a logistic regression that tells the set from gold, "
        "with its 95 % interval; 0.5 cannot, 1 always can.",
    )
    yield Table(
        "How many different texts there are in effect",
        (
            "task",
            "set",
            "n",
            "Vendi, lsa",
            "G-Vendi, lsa",
            "n ",
            "Vendi, MiniLM",
            "G-Vendi, MiniLM",
        ),
        tuple(meaning),
        "Of n texts, the same number for every set of a task. G-Vendi: of the gradients of a "
        "logistic head trained on gold, for three labels or more.",
    )


def labels_table(chosen: Sequence[Family]) -> Table:
    """Return the agreement of a gold-trained judge with the labels of every set."""
    study, lines = Labels(), list[tuple[Any, ...]]()
    for family in chosen:
        if not family.mine:
            lines += [(family.name, name, *(None,) * 8) for name in family.sets]
            continue
        findings = found_by(study, family, "labels")
        agreement, filtered = findings.tables[:2]
        for name in family.sets:
            rows = [row for row in agreement.rows if row[0] == name]
            dropped = sum(int(row[3] or 0) for row in filtered.rows if row[0] == name)
            worst = min((r for r in rows[1:] if r[3] is not None), key=lambda r: float(r[3] or 0))
            weak = any(warning.startswith(f"{name}:") for warning in findings.warnings)
            lines.append((family.name, name, *rows[0][2:], f"{worst[1]} {worst[3]:.3f}", dropped))
            if weak:
                lines[-1] = (*lines[-1][:1], f"{name} (weak judge)", *lines[-1][2:])
    return Table(
        "Label preservation of published synthetic sets",
        (
            *("task", "set", "rows", "agreement", "from", "to", "judge on mine"),
            *("judge on unseen", "worst label", "filter drops"),
        ),
        tuple(lines),
        "Agreement with a judge (`linear`) trained on gold, with its 95 % interval; the judge's "
        "own accuracy on the gold that it was trained on (5-fold cross-validated) and on other "
        "gold. Weak judge: it cannot be shown to beat the commonest label on gold; its agreement "
        "says nothing. On imdb the judge is trained on 2,000 of the 10,000 rows. Filter: keeps "
        "the 83 % of each label that the judge is most confident of.",
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", help="one task, e.g. imdb")
    parser.add_argument("--sample", type=int, default=250, help="rows that are encoded, each set")
    options = parser.parse_args()
    chosen = [f for f in families() if options.only in (None, f.name.split()[0])]
    tables = [labels_table(chosen), *diversity_tables(chosen, options.sample)]
    text = "\n\n".join(table.to_markdown() for table in tables)
    print(text)
    Path(".bench/published.md").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
