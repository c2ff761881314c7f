"""`check` says what will go wrong with rows that a run would take without a word."""

from dataclasses import replace

import pytest

from stepsynth.data.split import Gold
from stepsynth.dryrun.foresight import foresee, measure_prompts
from stepsynth.dryrun.lengths import fit_task
from stepsynth.dryrun.stubs import count_tokens
from stepsynth.records import Dataset, Example, union
from stepsynth.taskfile.config import load_config

OPENAI = "{preset: openai, model: gpt-4o-mini}"


@pytest.fixture
def configure(tmp_path):
    def configure(*, labels="{a: apple, b: pear}", method="s3", llm=OPENAI, more=""):
        path = tmp_path / "task.yaml"
        path.write_text(
            f"task: {{labels: {labels}, text_name: note{more}}}\ndata: {{gold: g.csv}}\n"
            f"llm: {llm}\nmethod: {method}\n"
        )
        return load_config(path)

    return configure


def rows(**counts):
    return Dataset(Example(f"note {k} {i}", k) for k, n in counts.items() for i in range(n))


def gold(mine=None, select=None, test=None):
    enough = rows(a=9, b=9)
    return Gold(mine or enough, select or enough, test or rows(a=5, b=5), {})


def said(config, splits):
    return list(foresee(config, splits, measure_prompts(config, splits)))


def test_rows_that_are_enough_need_no_word(configure):
    assert said(configure(), gold()) == []


def test_labels_of_few_rows_are_told_by_split(configure):
    splits = gold(mine=rows(a=30, b=4), select=rows(a=2, b=3))
    assert said(configure(), splits) == [
        "the mine split has fewer than 5 rows of the label 'b' (4)",
        "the select split has fewer than 5 rows of the label 'a' (2), 'b' (3)",
    ]
    few = rows(a=30, b=4)
    papers = Gold(few, few, rows(a=9, b=9), {})  # select is mine
    assert len(said(configure(), papers)) == 1


def test_a_label_of_one_row_is_told_by_its_place(configure):
    config = configure(labels="[a, b, c]")
    splits = gold(mine=union(rows(a=9, b=9), [Example("odd", "c")]))
    assert said(config, splits)[-1].startswith("the label 'c' has 1 row in all, which is in mine:")


def test_many_labels_are_not_all_listed(configure):
    names = [f"l{i}" for i in range(30)]
    splits = gold(mine=rows(**dict.fromkeys(names, 2)))
    first = said(configure(labels=f"[{', '.join(names)}]"), splits)[0]
    assert first.endswith("'l9' (2) and 20 more")


@pytest.mark.parametrize("labels", ["[0, 1]", "{0: '0', -1.5: null}", "['0', '1,5']"])
def test_numbers_are_no_words_for_labels(configure, labels):
    config = configure(labels=labels)
    first, second = config.task.label_names
    enough = Dataset(Example(f"note {k} {i}", k) for k in (first, second) for i in range(9))
    (told,) = said(config, Gold(enough, enough, enough, {}))
    assert f"no word for the label '{first}', '{second}'" in told
    assert "a note of the label '0' means nothing to it" in told
    assert said(configure(labels=labels, method="gold"), Gold(enough, enough, enough, {})) == []


def test_words_for_numbers_are_fine(configure):
    config = configure(labels="{0: negative, 1: positive, v2: v2}")
    enough = rows(**{"0": 9, "1": 9, "v2": 9})
    assert said(config, Gold(enough, enough, enough, {})) == []


def test_prompts_are_measured_as_the_plan_does_and_long_ones_told(configure):
    config = configure()
    texts = ["short", "short as well", "long " * 2_000]
    mine = Dataset(Example(text, "a") for text in texts)
    sizes = measure_prompts(config, gold(mine=mine))
    task = fit_task(config.task, config.method, mine)
    tokens = [count_tokens(task.extrapolation_prompt(row)) for row in mine]
    assert sizes.to_dict() == {
        "split": "mine",
        "median": tokens[1],
        "most": tokens[2],
        "total": sum(tokens),
        "usd": pytest.approx(sum(tokens) * 0.15e-6),
    }
    assert (
        f"at most {tokens[2]:,}; once through mine are {sum(tokens):,}, 0.0003" in sizes.in_words()
    )
    (told,) = [line for line in said(config, gold(mine=mine)) if "prompts" in line]
    assert told.startswith("1 of 3 rows of mine make prompts of more than 2,000 tokens, up to 2,5")


def test_only_prompts_that_hold_gold_rows_are_measured(configure):
    splits = gold()
    assert measure_prompts(configure(method="gold"), splits) is None
    assert measure_prompts(configure(method="zerogen"), splits) is None
    decided = measure_prompts(configure(method="llm"), splits)
    assert (decided.split, len(decided.tokens)) == ("select and test", 28)
    pairs = configure(method="zerogen", more=", kind: sentence_pair")
    mine = Dataset(Example(f"t{i}", "a", "A context. " * 50) for i in range(3))
    assert measure_prompts(pairs, gold(mine=mine)).median > 130
    free = configure(llm="{preset: ollama, model: m}")
    assert measure_prompts(free, splits).usd is None
    assert "USD" not in measure_prompts(free, splits).in_words()


def test_a_bound_that_cuts_what_is_asked_for_is_told(configure):
    config = configure()
    assert config.llm is not None
    bounds = {"seed": (config.llm.model_copy(update={"max_tokens": 60}),)}
    short = replace(config, llm=config.llm.model_copy(update={"max_tokens": 300, "phases": bounds}))
    long = rows(a=9, b=9)
    mine = Dataset([*long, *(replace(row, text=row.text + " and so on" * 40) for row in long)])
    told = " ".join(said(short, gold(mine=mine)))
    assert "llm.phases.seed.max_tokens is 60, and an answer to the prompt 'seed'" in told
    assert "llm.max_tokens is 300, and an answer to the prompt 'rationale' can take" in told
    assert "max_tokens" not in " ".join(said(config, gold(mine=mine)))
