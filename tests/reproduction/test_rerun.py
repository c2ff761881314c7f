"""The plan of the paper's tables: complete, priced right, and runnable."""

import json
from collections import defaultdict

import pytest

from reproduction import paper
from reproduction.plan import RECIPES, TABLES, Planner, cost_of, tokens_of, with_needed
from reproduction.rerun import cost_table, main, overrides_of, parse_options
from stepsynth.taskfile.config import load_config
from tests.conftest import SHARED
from tests.stub_server import completion

PLAN = Planner().plan()


def only(table, data_set, name):
    (line,) = [p for p in PLAN if (p.table, p.data_set, p.name) == (table, data_set, name)]
    return line


@pytest.mark.parametrize("data_set", paper.DATA_SETS)
def test_every_recipe_loads_without_a_network(data_set):
    config = load_config(RECIPES / f"{data_set}.yaml")
    assert config.data.paper_splits
    assert config.data.gold.startswith("hf:")
    assert config.llm.backend == "openai_compatible"
    assert config.llm.temperature == 0.9
    assert config.method.rounds == 2
    assert config.method.seed_size == paper.SEED_ROWS[data_set]
    assert config.student.model == "distilbert-base-uncased"
    batch, rate, decay, epochs, warm_up = {
        "imdb": (8, 5e-6, 2e-8, 6, 100),
        "qnli": (32, 5e-6, 2e-8, 10, 300),
        "rte": (16, 1e-5, 1e-2, 20, 100),
        "adqa": (8, 1e-5, 1e-2, 10, 0),
    }[data_set]
    student = config.student
    assert (student.batch_size, student.learning_rate, student.epochs) == (batch, rate, epochs)
    assert (student.weight_decay, student.warmup) == (decay, warm_up)


def test_the_plan_covers_all_tables_and_data_sets():
    covered = defaultdict(set)
    for line in PLAN:
        covered[line.table].add(line.data_set)
    every = set(paper.DATA_SETS)
    assert dict(covered) == {
        "2": every,
        "3": every,
        "4": {"imdb"},
        "5": every - {"rte"},
        "6": every,
        "8": every - {"imdb"},
        "9": every,
    }
    assert tuple(covered) == TABLES
    assert [p.name for p in PLAN if p.table == "2" and p.data_set == "imdb"] == [
        *("gold", "progen", "zerogen", "goldgen", "s3")
    ]


@pytest.mark.parametrize("scale", [1.0, 0.01])
def test_every_planned_run_is_a_configuration_that_loads(scale, tmp_path):
    options = parse_options(["--scale", str(scale), "--model", "m"])
    for line in Planner(scale).plan():
        path = RECIPES / f"{line.data_set}.yaml"
        config = load_config(path, overrides_of(line, tmp_path, options))
        assert config.method.name in line.method
        # What asks the LLM has a cap.
        assert (config.limits.requests is not None) == bool(line.calls)


def test_what_table_5_builds_on_is_planned_before_it():
    lines = with_needed([p for p in PLAN if p.table == "5" and p.data_set == "imdb"], PLAN)
    keys = [line.key for line in lines]
    for line in lines:
        assert all(keys.index(needed) < keys.index(line.key) for needed in line.after)
    assert "imdb/s3" in keys


def test_one_row_costs_what_it_costs_by_hand():
    line = only("3", "rte", "without EES")
    prompt, answer = tokens_of("rte", "seed")
    # "Based on the above description, write one sentence that is definitely correct. Answer with
    # the sentence alone." is 17 words, the premise 44.
    assert prompt == pytest.approx((44 + 17) * 4 / 3)
    assert answer == pytest.approx(24.61 - 2)  # Table 6 is in tokens, with two marks
    cost = cost_of([line])
    assert cost.calls == 33_600
    assert cost.prompt_tokens == pytest.approx(33_600 * 61 * 4 / 3)
    assert cost.usd((0.5, 1.5)) == pytest.approx(33_600 * (61 * 4 / 3 * 0.5 + 22.61 * 1.5) / 1e6)
    assert cost.row_epochs == 33_600 * 20
    assert cost.flops == pytest.approx(33_600 * 20 * 6 * 66e6 * 512)


def test_calls_that_two_lines_share_are_counted_once():
    s3, seed = only("3", "imdb", "s3"), only("3", "imdb", "without EES")
    rationales, added = 2, 3291 + 2882
    assert cost_of([s3]).calls == rationales + 15_000 + added
    assert cost_of([seed]).calls == rationales + 21_200
    assert cost_of([s3, seed]).calls == rationales + 21_200 + added
    # The same run in Tables 2 and 6.
    assert cost_of([only("2", "imdb", "s3"), only("6", "imdb", "s3")]) == cost_of([s3])


def test_training_cost_is_appendix_bs():
    assert paper.flops(1) == pytest.approx(2.03e11, rel=2e-3)
    assert paper.flops(200_000 * 10) == pytest.approx(4.06e17, rel=2e-3)
    assert paper.flops((51_200 + 64_000 + 76_800) * 8) == pytest.approx(3.11e17, rel=2e-3)


def test_nothing_runs_without_a_yes_and_a_model(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="33,622 times; --yes"):
        main(["--run", "6", "--only", "rte"])
    with pytest.raises(SystemExit, match="--model"):
        main(["--run", "6", "--only", "rte", "--yes"])
    with pytest.raises(SystemExit, match="no rte"):
        main(["--run", "5", "--only", "rte", "--yes"])
    assert "| 6 | rte | 1 | 33,622 |" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


def test_without_a_price_no_usd_is_made_up():
    assert "| – |" in cost_table(PLAN[:1], PLAN, None)


def test_a_table_is_run_at_a_small_scale(tmp_path, server, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    texts = {"positive": "a good one, number", "negative": "a bad one, number"}
    gold = [
        {"text": f"{text} {i}", "label": label[:3]}
        for label, text in texts.items()
        for i in range(60)
    ]
    (tmp_path / "gold.jsonl").write_text("".join(json.dumps(row) + "\n" for row in gold[::2]))
    (tmp_path / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in gold[1::2]))

    def answer(number, body):
        prompt = body["messages"][0]["content"]
        if "numbered list" in prompt:
            return completion("\n".join(f"{i}. reason {i}" for i in range(1, 21)))
        label = "negative" if "negative" in prompt else "positive"
        return completion(f"{texts[label]} {100 + number}")

    server.answer = answer
    sets = [f"data.gold={tmp_path}/gold.jsonl", f"data.test={tmp_path}/test.jsonl"]
    sets += ["student=linear", "data.split.mine=40"]
    flags = [flag for value in sets for flag in ("--set", value)]
    command = f"--run 4 --scale 0.001 --yes --model m --base-url {server.url}"
    main([*command.split(), *flags])
    said = capsys.readouterr().out.splitlines()
    assert said[-2:] == [
        "| imdb | with rationales | 20 | 20 | 86.86 | 100.00 |",
        "| imdb | without rationales | 40 | 40 | 85.34 | 100.00 |",
    ]
    assert len(server.bodies) == 2 + 20 + 40


def test_constants_are_those_of_the_reference():
    reference = SHARED / "reference" / "papers.md"
    if not reference.exists():
        pytest.skip("the reference is not beside the project")
    text = reference.read_text(encoding="utf-8")
    tables = text[text.index("### 1.5") : text.index("### 1.7")]
    lines = {}
    for part in tables.split("**Table "):
        number = "2" if part.startswith("### 1.5") else part[0]
        lines[number] = [
            [cell.strip(" *") for cell in line.strip("|").split("|")]
            for line in part.splitlines()
            if line.startswith("|")
        ]

    def numbers(cell):
        return tuple(float(part.strip(" *")) for part in cell.split("/") if part.strip(" *") != "–")

    def row(number, start):
        (found,) = [line for line in lines[number] if line[0].lower().startswith(start)]
        return [numbers(cell.replace(",", "")) for cell in found[1:]]

    for method, sets in paper.TABLE_2.items():
        (found,) = [line for line in lines["2"] if line[0].lower() == method]
        cells = dict(zip(paper.DATA_SETS, found[1:5], strict=True))
        for data_set, scores in sets.items():
            size, *reported = [part.strip(" *") for part in cells[data_set].split("/")]
            assert tuple(map(float, reported)) == scores
            assert float(size.removesuffix("k")) * 1000 == paper.TABLE_2_ROWS[method][data_set]
    _, with_s3, with_zerogen = paper.TABLE_5.values()
    every, no_rte = paper.DATA_SETS, ("imdb", "qnli", "adqa")
    for number, start, sets, ours in (
        ("3", "w/o", every, paper.TABLE_3["without EES"]),
        ("5", "zerogen", no_rte, paper.TABLE_5["zerogen"]),
        ("5", "+ additional data mined with s3", no_rte, with_s3),
        ("5", "+ additional data mined with the", no_rte, with_zerogen),
        ("9", "gold", every, paper.TABLE_9["gold"]),
        ("9", "zerogen", every, paper.TABLE_9["zerogen"]),
        ("9", "s3", every, paper.TABLE_9["s3"]),
    ):
        assert row(number, start) == [ours[data_set] for data_set in sets]
    for start, name in (
        ("pairs", "pairs"),
        ("mean cosine", "cosine"),
        ("mean edit", "edit distance"),
        ("mean length of x_mis", "length of the error"),
        ("mean length of x_add", "length of the extrapolation"),
    ):
        assert row("6", start) == [(paper.TABLE_6[name][d],) for d in every]
    for size, accuracy in paper.TABLE_4.values():
        assert f"{size // 1000}k items → {accuracy}" in tables
    eight = ("qnli", "rte", "adqa")
    s3, zerogen = (" / ".join(f"{paper.TABLE_8[m][d]:.2f}" for d in eight) for m in paper.TABLE_8)
    assert f"S3 {s3}, ZeroGen {zerogen}" in tables
