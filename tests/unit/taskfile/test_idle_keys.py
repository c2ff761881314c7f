"""Keys of a method that do nothing as the others are: refused, and they really do nothing."""

import json

import pytest

import stepsynth
from stepsynth.comparison.plan import make_plan
from stepsynth.errors import ConfigError
from stepsynth.methods import methods
from stepsynth.methods._training import run_method
from stepsynth.retrieval import Passage
from stepsynth.students.linear import Linear
from stepsynth.taskfile.config import load_config
from stepsynth.tasks.sentence_pair import SentencePair
from tests.fakes import FakeBackend, WordIndex, answer_anything, make_setup, rows

GOLD = rows(
    *((f"a {word} {i}", label) for i in range(6) for word, label in (("red", "a"), ("green", "p")))
)
GIVEN = rows(*((f"{label} {i}", label) for i in range(8) for label in ("a", "p")))
CORPUS = [
    Passage(f"{fruit} {i}", f"A {fruit} {i} fell.")
    for i in range(30)
    for fruit in ("apple", "pear")
]

S3 = {"name": "s3", "rationales": False, "seed_size": 10}
ANY_PASSAGE = {"min_words": 1, "content_cosines": (0.0, 1.0), "seed_size": 8}
CASES = [
    (S3, "gold_weight", 3.0),
    (S3, "num_rationales", 5),
    (S3, "rationales_per_prompt", 2),
    ({**S3, "rationales": True, "seed_from": "x"}, "num_rationales", 5),
    ({**S3, "seed_from": "x"}, "seed_size", 5),
    ({**S3, "added_size": 4}, "extrapolations_per_error", 3),
    ({**S3, "added_size": 4, "balance_added": True}, "extrapolations_per_error", 3),
    *(
        ({**S3, "rounds": 0}, key, value)
        for key, value in (
            *(("extrapolations_per_error", 3), ("max_added", 2), ("added_size", 4)),
            *(("balance_added", True), ("early_stop", True), ("keep", "best")),
        )
    ),
    *(
        ({**S3, "added_from": "x"}, key, value)
        for key, value in (
            *(("rounds", 3), ("max_added", 2), ("added_size", 4), ("early_stop", True)),
            *(("balance_added", True), ("extrapolations_per_error", 3)),
        )
    ),
    ({"name": "s3", "seed_from": "x"}, "texts_per_prompt", 2),
    ({"name": "s3", "seed_from": "x", "added_from": "x"}, "texts_per_prompt", 2),
    ({"name": "goldgen", "seed_size": 6, "size": 20, "seed_from": "x"}, "seed_size", 5),
    ({"name": "zerogen", "seed_size": 10}, "num_conditions", 7),
    ({"name": "sungen", "seed_size": 30, "outer_steps": 2}, "num_conditions", 7),
    ({"name": "progen", "size": 30, "initial": 10, "feedback": 0}, "shots", 2),
    ({"name": "progen", "size": 30, "initial": 10, "feedback": 0}, "pool", 2),
    ({"name": "progen", "size": 30, "initial": 10, "feedback": 0}, "loss", "cross_entropy"),
    *(
        ({"name": "progen", "size": 10, "initial": 10}, key, value)
        for key, value in (("shots", 2), ("pool", 2), ("feedback", 0.9), ("interval", 3))
    ),
    ({"name": "progen", "size": 10, "initial": 12}, "loss", "cross_entropy"),
    ({"name": "attrprompt", "seed_size": 8, "dimensions": ["style"]}, "num_dimensions", 1),
    ({"name": "attrprompt", "seed_size": 8, "dimensions": {"style": ["dry"]}}, "num_values", 1),
    ({"name": "attrprompt", "seed_size": 8, "dimensions": {"style": "shared"}}, "max_rejected", 0),
    ({"name": "synthesizrr", "variant": "non_retricl", **ANY_PASSAGE}, "shot_ranks", 9),
    ({"name": "synthesizrr", "variant": "zero_shot", **ANY_PASSAGE}, "shot_cosines", (0.0, 0.1)),
    ({"name": "synthesizrr", "variant": "zero_shot", **ANY_PASSAGE}, "shots", 3),
]
"""What else is set, a key that does nothing beside it, and a value that it could have."""

NAMES = [f"{keys['name']}-{key}-{i}" for i, (keys, key, _) in enumerate(CASES)]


def build(keys, **more):
    values = {key: value for key, value in {**keys, **more}.items() if key != "name"}
    return methods().get(keys["name"]).model_validate(values)


def what_it_does(method, task):
    """Return the prompts, the rows of each round with their weights, and the round that is kept."""
    backend = FakeBackend(answer_anything)
    setup, _ = make_setup(task, backend, Linear(), GOLD, index=WordIndex(CORPUS))
    object.__setattr__(setup, "given", {"seed_from": GIVEN, "added_from": GIVEN})
    rounds = list(run_method(method, setup))
    setup.llm.close()
    kept = method.choose_round(rounds, setup.select)
    return [r.prompt for r in backend.requests], [(r.train, r.weights) for r in rounds], kept


@pytest.mark.parametrize(("keys", "key", "value"), CASES, ids=NAMES)
def test_a_key_that_is_said_to_do_nothing_does_nothing(task, keys, key, value):
    plain, changed = build(keys), build(keys, **{key: value})
    assert key in changed.idle_keys(task)
    assert getattr(changed, key) != getattr(plain, key)
    assert what_it_does(changed, task) == what_it_does(plain, task)


@pytest.mark.parametrize("name", methods().names())
def test_no_method_calls_a_key_idle_that_it_has_not(name, task):
    method = methods().get(name)
    assert method().idle_keys(task).keys() <= method.model_fields.keys()


def test_rows_with_a_context_have_no_rationales():
    pairs = SentencePair(labels=("a", "p"))
    assert "num_rationales" in build(S3, rationales=True).idle_keys(pairs)


# Refused ---------------------------------------------------------------------------------------

TASK = """\
task: {labels: [apple, pear]}
data: {gold: gold.jsonl}
llm: {backend: scripted, rules: [{pattern: x, answers: [y]}]}
method:
  name: s3
  seed_size: 40
"""


@pytest.fixture
def load(tmp_path):
    lines = (
        json.dumps({"text": f"{f} {i}", "label": f}) for f in ("apple", "pear") for i in range(9)
    )
    (tmp_path / "gold.jsonl").write_text("\n".join(lines), encoding="utf-8")
    file = tmp_path / "fruit.yaml"

    def load(more="", *overrides):
        file.write_text(TASK + more, encoding="utf-8")
        return load_config(file, overrides)

    load.file = file
    return load


def test_it_is_refused_with_its_line_and_what_to_do(load):
    with pytest.raises(ConfigError) as caught:
        load("  gold_weight: 2.0\n")
    assert caught.value.message.endswith(
        "fruit.yaml, line 7: method.gold_weight: 2.0 has no effect on the method 's3': gold rows "
        "are trained on with train_on: both alone"
    )
    assert caught.value.hint == "leave gold_weight out"
    assert caught.value.exit_code == 2
    assert load("  gold_weight: 2.0\n  train_on: both\n").method.gold_weight == 2
    assert load("  gold_weight: 1.0\n  keep: last\n  rounds: 0\n").method.rounds == 0


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["method.gold_weight=3"], "--set: method.gold_weight"),
        (["method={name: gold, train_on: both}"], "--set: method.train_on"),
        (["method=llm", "method.reweight=density_ratio"], "--set: method.reweight"),
        (["method.rounds=0", "method.keep=best"], "--set: method.keep"),
    ],
)
def test_it_is_refused_on_the_command_line(load, overrides, said):
    with pytest.raises(ConfigError, match=said):
        load("", *overrides)


def test_what_a_file_states_may_be_idle_beside_the_command_line(load):
    file = "  keep: best\n  max_added: 9\n"
    assert load(file, "method.rounds=0").method.keep == "best"
    assert load("", "method.seed_from=seed.jsonl").method.seed_size == 40


def test_the_sizes_of_a_recipe_may_be_idle(load):
    load()
    text = load.file.read_text(encoding="utf-8")
    imdb = text.replace("{labels: [apple, pear]}", "{recipe: imdb}")
    load.file.write_text(imdb.replace("seed_size: 40", "seed_from: seed.jsonl"), encoding="utf-8")
    assert load_config(load.file).method.seed_size == 15_000


@pytest.mark.parametrize(
    ("key", "options"),
    [
        ("method.gold_weight", {"method": stepsynth.S3(gold_weight=2.0)}),
        ("method.gold_weight", {"method": {"name": "s3", "gold_weight": 2.0}}),
        ("curation.similarity", {"curation": {"similarity": 0.9, "duplicates": "exact"}}),
    ],
)
def test_objects_are_refused_too(key, options):
    with pytest.raises(ConfigError, match=f"{key}: .* has no effect"):
        stepsynth.synthesize(
            {"labels": ["a", "p"]},
            [row.to_dict() for row in GOLD],
            llm={"backend": "scripted", "rules": [{"pattern": "x", "answers": ["y"]}]},
            **options,
        )


def test_the_resolved_configuration_of_a_run_is_taken_as_it_is(load, tmp_path):
    from stepsynth._util.files import write_text
    from stepsynth.runfolder.folder import dump_yaml

    resolved = load("  keep: best\n", "method.rounds=0").to_dict()
    write_text(tmp_path / "config.yaml", dump_yaml(resolved))
    assert load_config(tmp_path / "config.yaml").method.keep == "best"


# Comparisons -----------------------------------------------------------------------------------


def test_a_comparison_drops_what_does_not_apply_to_a_method(load):
    load("  train_on: both\n  gold_weight: 2.0\n  texts_per_prompt: 3\n  keep: best\n")
    names = ["s3", "s3:rounds=0", "zerogen", "zerogen:train_on=synthetic", "gold", "llm"]
    plan = make_plan(load.file, names, seeds=1)
    assert plan.failures == {}
    assert plan.warnings == []
    found = {name: config.method for name, config in plan.configs.items()}
    for name in ("s3", "zerogen"):
        assert (found[name].train_on, found[name].gold_weight) == ("both", 2.0)
        assert found[name].texts_per_prompt == 3
    assert (found["s3"].keep, found["s3:rounds=0"].keep) == ("best", "last")
    assert found["zerogen:train_on=synthetic"].gold_weight == 1.0
    assert found["gold"].model_dump() == {}
    assert found["llm"] == methods().get("llm")()


def test_a_variant_that_asks_for_nothing_is_refused(load):
    load()
    with pytest.raises(ConfigError, match="gold:gold_weight=2: gold_weight: unknown key"):
        make_plan(load.file, ["zerogen", "gold:gold_weight=2"], seeds=1)
    plan = make_plan(load.file, ["zerogen", "zerogen:gold_weight=2"], seeds=1)
    assert list(plan.failures) == ["zerogen:gold_weight=2"]
    said = plan.failures["zerogen:gold_weight=2"].message
    assert "method.gold_weight: 2.0 has no effect" in said


def test_what_a_budget_makes_idle_is_told(load):
    load()
    plan = make_plan(load.file, ["s3:extrapolations_per_error=2", "zerogen"], seeds=1)
    assert plan.failures == {}
    assert plan.warnings == [
        "s3:extrapolations_per_error=2: extrapolations_per_error = 2 has no effect with a budget "
        "of 60 rows: added_size says how many rows a round adds"
    ]
