"""The runs behind the tables of S3's paper, and their cost.

A line of a table is a run of `recipes/paper/*.yaml` with another `method`. Lines of several tables
may share a run. Nothing is run here, and the network is not needed.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from reproduction import paper
from stepsynth.records import Answers, Example
from stepsynth.taskfile.config import Config, load_config

RECIPES = Path(__file__).parent.parent / "recipes" / "paper"
TABLES = ("2", "3", "4", "5", "6", "8", "9")
MINILM = "microsoft/MiniLM-L12-H384-uncased"
PARAMETERS = {"": 66e6, MINILM: 33e6}
"""Student -> parameters. The paper names no MiniLM checkpoint; this one is chosen here."""

TOKENS_PER_WORD = 4 / 3
MARKS = 2
"""The tokens [CLS] and [SEP], which the paper counts."""
RATIONALE_WORDS = 10
CONTEXT_WORDS = {"imdb": 0.0, "qnli": 27.6, "rte": 43.6, "adqa": 114.8}
"""Mean words of a context in QNLI's and AdQA's validation sets and in RTE's training set."""
ANSWER_WORDS = 3
SHOTS = 8
"""Examples in half of ProGen's prompts, each as long as a written text."""


@dataclass(frozen=True)
class Calls:
    """Requests with one kind of prompt.

    Attributes:
        pool: Name of the pool. Its requests are equal and equally ordered, and stored only once.
        prompt: rationale, seed, seed from rationales, extrapolate or few-shot.
        number: The number of requests.
    """

    pool: str
    prompt: str
    number: int


@dataclass(frozen=True)
class Planned:
    """Line of a table.

    Attributes:
        table: The number of the table in the paper.
        name: The line's name.
        key: Its run folder; lines of several tables may share a run.
        method: The `method` section.
        rows: Training rows of the final student, as planned.
        fits: Training rows of every fit.
        paper: The scores in the paper.
        after: Keys of the runs that it starts from.
        student: A pretrained model in place of DistilBERT; "": none.
        study: The study of the run, if the line has no score of a student.
    """

    table: str
    data_set: str
    name: str
    key: str
    method: str
    calls: tuple[Calls, ...]
    rows: int
    fits: tuple[int, ...]
    paper: paper.Scores
    after: tuple[str, ...] = ()
    student: str = ""
    study: str = ""


@dataclass(frozen=True)
class Planner:
    """Planner of every line at a scale; 1 is the paper's."""

    scale: float = 1.0

    def rows(self, number: int) -> int:
        """Return a number of rows at this scale."""
        return number if self.scale == 1 else max(20, round(number * self.scale))

    def plan(self) -> list[Planned]:
        """Return the lines of all tables, in order."""
        return [
            *(self.line("2", d, m) for m, sets in paper.TABLE_2.items() for d in sets),
            *(self.line("3", d, m) for m, sets in paper.TABLE_3.items() for d in sets),
            *(self.line("4", "imdb", m) for m in paper.TABLE_4),
            *(self.line("5", d, m) for m, sets in paper.TABLE_5.items() for d in sets),
            *(self.line("6", d, "s3") for d in paper.DATA_SETS),
            *(self.line("8", d, m) for m, sets in paper.TABLE_8.items() for d in sets),
            *(self.line("9", d, m) for m, sets in paper.TABLE_9.items() for d in sets),
        ]

    def line(self, table: str, data_set: str, name: str) -> Planned:
        """Return one line."""
        return {
            "gold": self._gold,
            "zerogen": self._zerogen,
            "progen": self._progen,
            "goldgen": self._goldgen,
            "s3": self._s3,
            "without EES": self._seed_only,
            "with rationales": self._seed_only,
            "without rationales": self._seed_only,
            "+ data mined with S3's model": self._merged,
            "+ data mined with ZeroGen's model": self._mined_on_zerogen,
        }[name](table, data_set, name)

    def _gold(self, table: str, data_set: str, name: str) -> Planned:
        rows = self.rows(paper.TABLE_2_ROWS["gold"][data_set])
        return self._planned(table, data_set, name, "{name: gold}", (), (rows,))

    def _zerogen(self, table: str, data_set: str, name: str) -> Planned:
        rows = self.rows(paper.TABLE_2_ROWS["zerogen"][data_set])
        calls = (Calls(f"{data_set} zerogen", "seed", rows),)
        method = f"{{name: zerogen, seed_size: {rows}}}"
        return self._planned(table, data_set, name, method, calls, (rows,))

    def _progen(self, table: str, data_set: str, name: str) -> Planned:
        rows = self.rows(paper.TABLE_2_ROWS["progen"][data_set])
        calls = (Calls(f"{data_set} progen", "few-shot", rows),)
        # The student is trained at each doubling, so all earlier fits add up to one last fit.
        method = f"{{name: progen, size: {rows}}}"
        return self._planned(table, data_set, name, method, calls, (rows, rows))

    def _goldgen(self, table: str, data_set: str, name: str) -> Planned:
        size, gold = (self.rows(paper.TABLE_2_ROWS[m][data_set]) for m in ("goldgen", "gold"))
        # The paper does not give the seed's share. On RTE, S3's seed is larger than all of
        # GoldGen: there the seed leaves room for one pass over gold.
        seed = self.rows(paper.SEED_ROWS[data_set])
        seed = seed if seed < size else size - gold
        method = f"{{name: goldgen, seed_size: {seed}, size: {size}}}"
        calls = (*self._seed(data_set, seed), Calls(f"{data_set} gold", "extrapolate", size - seed))
        return self._planned(table, data_set, name, method, calls, (seed, size))

    def _s3(self, table: str, data_set: str, name: str) -> Planned:
        seed = self.rows(paper.SEED_ROWS[data_set])
        first, second = map(self.rows, paper.ROUND_ROWS[data_set])
        errors = f"{data_set} errors" + (" minilm" if table == "9" else "")
        calls = (*self._seed(data_set, seed), Calls(errors, "extrapolate", first + second))
        fits = (seed, seed + first, seed + first + second)
        method = f"{{name: s3, seed_size: {seed}, rounds: 2}}"
        return self._planned(table, data_set, name, method, calls, fits)

    def _seed_only(self, table: str, data_set: str, name: str) -> Planned:
        number = paper.TABLE_4[name][0] if table == "4" else paper.TABLE_2_ROWS["s3"][data_set]
        rows, plain = self.rows(number), name == "without rationales"
        calls = self._seed(data_set, rows)
        if plain:
            calls = (Calls(f"{data_set} seed without rationales", "seed", rows),)
        options = "rationales: false, " if plain else ""
        method = f"{{name: s3, {options}seed_size: {rows}, rounds: 0}}"
        return self._planned(table, data_set, name, method, calls, (rows,))

    def _merged(self, table: str, data_set: str, name: str) -> Planned:
        seed = self.rows(paper.TABLE_2_ROWS["zerogen"][data_set])
        added = sum(map(self.rows, paper.ROUND_ROWS[data_set]))
        after = (f"{data_set}/zerogen", f"{data_set}/s3")
        method = f"{{name: s3, seed_from: $RUNS/{after[0]}, added_from: $RUNS/{after[1]}}}"
        fits = (seed, seed + added)
        return self._planned(table, data_set, name, method, (), fits, after=after)

    def _mined_on_zerogen(self, table: str, data_set: str, name: str) -> Planned:
        seed = self.rows(paper.TABLE_2_ROWS["zerogen"][data_set])
        first, second = map(self.rows, paper.ROUND_ROWS[data_set])
        after = (f"{data_set}/zerogen",)
        calls = (Calls(f"{data_set} errors of zerogen", "extrapolate", first + second),)
        method = f"{{name: s3, seed_from: $RUNS/{after[0]}, rounds: 2}}"
        fits = (seed, seed + first, seed + first + second)
        return self._planned(table, data_set, name, method, calls, fits, after=after)

    def _seed(self, data_set: str, rows: int) -> tuple[Calls, ...]:
        if data_set != "imdb":  # pairs and questions are written from contexts
            return (Calls(f"{data_set} seed", "seed", rows),)
        labels = len(config_of(data_set).task.label_names)
        return (
            Calls(f"{data_set} rationales", "rationale", labels),
            Calls(f"{data_set} seed", "seed from rationales", rows),
        )

    def _planned(
        self,
        table: str,
        data_set: str,
        name: str,
        method: str,
        calls: tuple[Calls, ...],
        fits: tuple[int, ...],
        *,
        after: tuple[str, ...] = (),
    ) -> Planned:
        studies = {"6": "quality", "8": "coverage"}
        short = name.removeprefix("+ ").replace("'", "").replace(" ", "-").lower()
        key = f"{data_set}/{short}" + ("-minilm" if table == "9" else "")
        return Planned(
            table=table,
            data_set=data_set,
            name=name,
            key=key,
            method=method,
            calls=calls,
            rows=fits[-1],
            fits=fits,
            paper=_reported(table, data_set, name),
            after=after,
            student=MINILM if table == "9" else "",
            study=studies.get(table, ""),
        )


def _reported(table: str, data_set: str, name: str) -> paper.Scores:
    if table == "4":
        return (paper.TABLE_4[name][1],)
    if table == "6":
        return paper.TABLE_6["cosine"][data_set], paper.TABLE_6["edit distance"][data_set]
    if table == "8":
        return (paper.TABLE_8[name][data_set],)
    tables = {"2": paper.TABLE_2, "3": paper.TABLE_3, "5": paper.TABLE_5, "9": paper.TABLE_9}
    return tables[table][name][data_set]


@lru_cache(maxsize=8)
def config_of(data_set: str) -> Config:
    """Return the configuration of a data set's task file in `recipes/paper`."""
    return load_config(RECIPES / f"{data_set}.yaml")


@lru_cache(maxsize=64)
def tokens_of(data_set: str, prompt: str) -> tuple[float, float]:
    """Return the mean tokens of a prompt and of its answer, from the recipe's own template.

    Texts have the lengths of the paper's Table 6, less [CLS] and [SEP]; a word is 4/3 tokens.
    """
    task = config_of(data_set).task
    written, missed = (
        (paper.TABLE_6[f"length of the {text}"][data_set] - MARKS) / TOKENS_PER_WORD
        for text in ("extrapolation", "error")
    )
    answer = Answers((_fill(ANSWER_WORDS),), (0,))
    label = task.label_names[0] if task.label_names else answer
    context = _fill(CONTEXT_WORDS[data_set]) if task.has_context else None
    like = Example("", label, context)
    reasons = [_fill(RATIONALE_WORDS)] * 3
    extra = 0.0
    if prompt == "rationale":
        number = 20
        text, written = task.rationale_prompt(str(label), number), number * RATIONALE_WORDS
    elif prompt == "extrapolate":
        text = task.extrapolation_prompt(Example(_fill(missed), label, context))
    elif prompt == "seed from rationales":
        text = task.seed_prompt(like, reasons)
    else:
        text = task.seed_prompt(like)
        extra = SHOTS / 2 * written if prompt == "few-shot" else 0.0
    return (len(text.split()) + extra) * TOKENS_PER_WORD, written * TOKENS_PER_WORD


def _fill(words: float) -> str:
    return " ".join(["word"] * round(words))


@dataclass(frozen=True)
class Cost:
    """Total cost of lines; shared parts count once."""

    runs: int
    calls: int
    prompt_tokens: float
    completion_tokens: float
    row_epochs: int
    flops: float

    def usd(self, price: Sequence[float]) -> float:
        """Return USD at a price for a million prompt and a million completion tokens."""
        return (self.prompt_tokens * price[0] + self.completion_tokens * price[1]) / 1e6


def cost_of(lines: Iterable[Planned]) -> Cost:
    """Return the cost of lines with one store; of a pool, only the longest sequence counts."""
    runs = {line.key: line for line in lines}
    pools: dict[str, tuple[str, Calls]] = {}
    for line in runs.values():
        for calls in line.calls:
            known = pools.get(calls.pool)
            if known is None or known[1].number < calls.number:
                pools[calls.pool] = (line.data_set, calls)
    tokens = [(*tokens_of(d, calls.prompt), calls.number) for d, calls in pools.values()]
    epochs = {run.key: _row_epochs(run) for run in runs.values()}
    return Cost(
        runs=len(runs),
        calls=sum(number for *_, number in tokens),
        prompt_tokens=sum(prompt * number for prompt, _, number in tokens),
        completion_tokens=sum(completion * number for _, completion, number in tokens),
        row_epochs=sum(epochs.values()),
        flops=sum(
            paper.flops(epochs[run.key], parameters=PARAMETERS[run.student])
            for run in runs.values()
        ),
    )


def _row_epochs(run: Planned) -> int:
    student = config_of(run.data_set).student
    return sum(rows * student.passes(rows) for rows in run.fits)


def with_needed(lines: Sequence[Planned], plan: Sequence[Planned]) -> list[Planned]:
    """Return lines, preceded by the runs that they start from, each run once."""
    by_key = {line.key: line for line in reversed(plan)}
    needed = [by_key[key] for line in lines for key in line.after]
    return list({line.key: line for line in (*needed, *lines)}.values())
