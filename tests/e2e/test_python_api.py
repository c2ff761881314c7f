"""The library as a notebook uses it."""

import asyncio
import inspect

import pytest

import stepsynth
from stepsynth import S3, Classification, Linear, Replay, Scripted, StepsynthError
from tests.e2e.cli import write_task

GOLD = [
    {"text": f"the {fruit} no {i} tastes {word}", "label": fruit}
    for fruit, word in (("apple", "crisp"), ("pear", "soft"))
    for i in range(20)
]
RULES = {
    "backend": "scripted",
    "rules": [
        {"pattern": r"List \d+", "answers": ["1. crisp\n2. red\n3. round"]},
        {"pattern": "Write.*apple", "answers": [f"apple {w}" for w in ("crisp", "red", "round")]},
        {"pattern": "Write.*pear", "answers": [f"pear {w}" for w in ("soft", "long", "green")]},
    ],
}


def test_objects_in_objects_out(tmp_path):
    pandas = pytest.importorskip("pandas")
    result = stepsynth.synthesize(
        Classification(labels=["apple", "pear"], text_name="note"),
        pandas.DataFrame(GOLD),
        llm=Scripted(**{k: v for k, v in RULES.items() if k != "backend"}),
        student=Linear(C=2.0),
        method=S3(seed_size=20, rounds=1, num_rationales=3),
    )
    assert [r.index for r in result.rounds] == [0, 1]
    assert set(result.dataset.texts) <= {
        f"{f} {w}"
        for f, w in (
            *(("apple", w) for w in ("crisp", "red", "round")),
            *(("pear", w) for w in ("soft", "long", "green")),
        )
    }
    assert result.model.predict(["a crisp apple", "a soft pear"]) == ["apple", "pear"]
    result.dataset.to_jsonl(tmp_path / "d.jsonl")
    assert len(result.dataset.to_pandas()) == len(result.dataset)
    assert result.report(tmp_path / "r.html").read_text(encoding="utf-8").startswith("<!doctype")
    assert result.summary.test.n == 10
    assert result.folder.is_dir()


def test_names_and_dictionaries_do_as_well(tmp_path):
    result = stepsynth.synthesize(
        {"labels": ["apple", "pear"]},
        GOLD,
        llm=RULES,
        method="zerogen",
        limits={"requests": 5000},
        split={"mine": 10, "select": 10, "test": 20},
        out=tmp_path / "run",
    )
    assert result.summary.method == "zerogen"
    assert result.folder == tmp_path / "run"
    assert (tmp_path / "run/report.html").exists()


def test_rows_may_have_other_keys_and_a_test_of_their_own():
    rows = [{"body": r["text"], "fruit": r["label"]} for r in GOLD]
    test = [
        {"body": f"bought {i * 7} of {r['label']}", "fruit": r["label"]} for i, r in enumerate(GOLD)
    ]
    result = stepsynth.synthesize(
        {"labels": ["apple", "pear"]},
        rows,
        test=test,
        columns={"text": "body", "label": "fruit"},
        method="gold",
    )
    assert result.summary.test.n == 40


def test_gold_rows_that_are_all_in_the_test_rows_are_said_to_be():
    with pytest.raises(StepsynthError, match=r"no gold row is left .* 40 were dropped: the same"):
        stepsynth.synthesize({"labels": ["apple", "pear"]}, GOLD, test=GOLD, method="gold")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"llm": None}, "there is no `llm` section"),
        ({"method": "s33"}, "no method is named 's33'"),
        ({"method": {"name": "s3", "seed": 1}}, r"method\.seed: unknown key"),
        ({"task": {"labels": ["apple"]}}, "two or more different labels"),
        ({"task": "imbd"}, "no recipe is named 'imbd'"),
        ({"gold": [{"text": "x", "label": "plum"}]}, "gold, row 0: the label 'plum'"),
        ({"gold": []}, "there is no row"),
        ({"gold": "gold.csv"}, "expected a list of dictionaries"),
    ],
)
def test_wrong_arguments_have_a_message(change, message):
    arguments = {"task": {"labels": ["apple", "pear"]}, "gold": GOLD, "llm": RULES, **change}
    with pytest.raises(StepsynthError, match=message):
        stepsynth.synthesize(**arguments)


@pytest.mark.parametrize("instruction", ["a\x00b", "a\x0bb", "a\ud800b", "a" * 300_000])
def test_what_config_yaml_cannot_hold_is_said_before_anything_is_paid_for(tmp_path, instruction):
    task = {"labels": ["apple", "pear"], "instruction": instruction}
    with pytest.raises(StepsynthError, match=r"as config\.yaml would hold them"):
        stepsynth.synthesize(task, GOLD, llm=RULES, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_task_file_runs_and_progress_can_be_watched(tmp_path, server):
    from stepsynth.observer import Observer

    class Watch(Observer):
        def __init__(self):
            self.phases: set[str] = set()
            self.rounds: list[int] = []

        def progress(self, phase, *_):
            self.phases.add(phase)

        def round_done(self, numbers):
            self.rounds.append(numbers.round)

    watch = Watch()
    task = write_task(tmp_path, url=server.url)
    result = stepsynth.run(task, overrides=["method.rounds=1"], out=tmp_path / "r", observer=watch)
    assert watch.rounds == [0, 1]
    assert {"seed data", "round 1: extrapolate errors"} <= watch.phases
    assert len(result.rounds) == 2


def test_a_subclass_of_ones_own_is_used_as_it_is():
    class Greedy(S3):
        def synthesize(self, setup):
            setup.warn("this is mine")
            yield from super().synthesize(setup)

    result = stepsynth.synthesize(
        {"labels": ["apple", "pear"]},
        GOLD,
        llm=RULES,
        method=Greedy(seed_size=12, rounds=0, rationales=False),
    )
    assert "this is mine" in result.summary.warnings
    assert len(repr(result)) < 300


def test_requests_that_fail_are_warned_of(tmp_path):
    path = tmp_path / "r.jsonl"
    path.write_text(
        '{"kind": "seed", "label": "apple", "completion": "the pear tastes soft"}\n'
        '{"kind": "seed", "label": "pear", "completion": "the apple tastes crisp"}\n'
    )
    result = stepsynth.synthesize(
        {"labels": ["apple", "pear"]},
        GOLD,
        llm=Replay(recordings=(str(path),), reuse=True),
        method=S3(seed_size=8, rounds=1, rationales=False),
    )
    missed = len(result.rounds[0].misclassified)
    assert missed > 0
    said = f"{missed} requests failed: {missed} exhausted"
    assert any(said in warning for warning in result.summary.warnings)
    assert result.summary.llm.failed == missed


def test_a_run_works_inside_a_running_event_loop_and_beside_it(tmp_path, server):
    task = write_task(tmp_path, url=server.url, rows=40)
    small = ["method={name: zerogen, seed_size: 8}"]

    async def in_a_cell():
        blocking = stepsynth.run(task, overrides=small, out=tmp_path / "blocking")
        awaited = await stepsynth.arun(task, overrides=small, out=tmp_path / "awaited")
        return blocking, awaited

    blocking, awaited = asyncio.run(in_a_cell())
    assert len(blocking.dataset) == len(awaited.dataset) == 8
    assert str(inspect.signature(stepsynth.arun)) == str(inspect.signature(stepsynth.run))


def test_a_cancelled_run_keeps_its_answers_and_goes_on(tmp_path, server):
    task = write_task(tmp_path, url=server.url, rows=40)
    options = {"overrides": ["method={name: zerogen, seed_size: 20}"], "out": tmp_path / "run"}
    server.delay_s = 0.2

    async def cancel_midway():
        run = asyncio.create_task(stepsynth.arun(task, **options))
        while not server.bodies:
            await asyncio.sleep(0.01)
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run

    asyncio.run(cancel_midway())
    asked = len(server.bodies)
    assert 0 < asked < 20
    server.delay_s = 0.0
    result = stepsynth.run(task, **options)
    assert result.summary.llm.from_store == asked
    assert len(server.bodies) == 20
