"""Made subjects for the tests of studies: rows on two topics, with gold of the same kind."""

import random

from stepsynth.data import DataSection
from stepsynth.llm.engine.limits import Limits
from stepsynth.methods.gold import Gold
from stepsynth.records import Dataset, Example
from stepsynth.students.linear import Linear
from stepsynth.studies import StudiedRun
from stepsynth.taskfile.config import Config
from stepsynth.tasks.classification import Classification

SEA = ("ship", "sail", "wave", "harbour", "anchor", "tide", "captain", "deck", "storm", "reef")
KITCHEN = ("pan", "knife", "onion", "butter", "oven", "spoon", "recipe", "dough", "salt", "flour")
GARDEN = ("rose", "spade", "soil", "hedge", "seed", "rake", "tulip", "weed", "lawn", "bee")
TOPICS = (("sea", SEA), ("kitchen", KITCHEN))
THREE = (*TOPICS, ("garden", GARDEN))


def texts_about(topics, n, *, seed):
    """Return n rows, as many of each topic, each of words of its topic."""
    rng = random.Random(seed)
    return Dataset(
        Example(" ".join(rng.choice(words) for _ in range(8)), label)
        for i in range(n)
        for label, words in [topics[i % len(topics)]]
    )


def column(table, name):
    return [row[table.columns.index(name)] for row in table.rows]


def make_subject(name, rows, *, gold_rows=160, student=None, topics=TOPICS):
    gold = texts_about(topics, gold_rows, seed=99)
    config = Config(
        name=name,
        task=Classification(labels=[label for label, _ in topics]),
        data=DataSection(gold="(given)"),
        llm=None,
        student=student or Linear(),
        method=Gold(),
        limits=Limits(),
        random_seed=0,
    )
    third = gold_rows // 3
    return StudiedRun(name, rows, gold[:third], gold[third : 2 * third], gold[2 * third :], config)
