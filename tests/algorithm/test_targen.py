"""TarGEN: every instance seed is used, and the judge overwrites labels."""

import json
from collections import Counter, defaultdict

import pytest

from stepsynth.errors import TooFewRowsError
from stepsynth.llm import Completion
from stepsynth.methods._spending_limit import SpendingLimit
from stepsynth.methods.targen import TarGEN
from stepsynth.records import Dataset
from stepsynth.tasks.sentence_pair import SentencePair
from tests.fakes import follow, rows

GOLD = rows(("red apple", "a"), ("green pear", "p"))


def answering(judge=lambda label: label):
    def answer(request):
        tags = request.tags
        match tags["kind"]:
            case "domains":
                return "1. orchards\n2. markets\n3. kitchens\n4. ships"
            case "instance_seeds":
                return "\n".join(f"{i}. {tags['domain']} event {i}" for i in range(1, 6))
            case "judge":
                return f"It fits.\n{json.dumps({'label': judge(tags['label'])})}"
            case _:
                return json.dumps({"text": f"text {request.draw}"})

    return answer


def run(task, method, answer, mine=GOLD, **changes):
    options = {"mine": mine, "select": GOLD, **changes}
    backend, (done,), warnings = follow(task, method, answer, **options)
    return backend, done, warnings


METHOD = TarGEN(seed_size=40, num_instance_seeds=5)


def test_all_instance_seeds_are_used_before_any_is_used_again(task):
    backend, done, _ = run(task, METHOD, answering(), mine=Dataset())
    assert len(backend.of_kind("domains")) == 1
    assert len(backend.of_kind("instance_seeds")) == 4
    used = [line["instance_seed"] for line in done.notes["instance_seeds"]]
    places = ("orchards", "markets", "kitchens", "ships")
    every = {f"{place} event {i}" for place in places for i in range(1, 6)}
    assert Counter(used) == Counter(dict.fromkeys(every, 2))
    for line in done.notes["instance_seeds"]:
        assert line["instance_seed"].startswith(line["domain"])
        assert line["instance_seed"] in done.exchanges[line["request"]][0]


def test_no_more_instance_seeds_are_asked_for_than_rows(task):
    backend, done, _ = run(task, TarGEN(seed_size=3), answering())
    assert [r.tags["domain"] for r in backend.of_kind("instance_seeds")] == [
        "orchards",
        "markets",
        "kitchens",
    ]
    assert len({line["instance_seed"] for line in done.notes["instance_seeds"]}) == 3


def test_rows_are_read_from_json(task):
    _, done, _ = run(task, METHOD, answering())
    assert set(done.train.texts) == {f"text {i}" for i in range(40)}


def test_an_instance_seed_that_is_only_repeated_is_no_row(task):
    def repeat(request):
        if request.tags["kind"] == "from_instance_seed" and request.draw % 2:
            return json.dumps({"text": request.prompt.split("\n\n")[1]})
        return answering()(request)

    _, done, _ = run(task, METHOD, repeat)
    assert done.train
    assert not any("event" in text for text in done.train.texts)
    assert {unused.rejected.reason for unused in done.unused} == {"echo"}


def test_an_agreeing_judge_changes_nothing(task):
    backend, judged, _ = run(task, METHOD, answering())
    _, plain, _ = run(task, METHOD.model_copy(update={"self_correction": False}), answering())
    assert judged.train == plain.train
    assert "judged" not in judged.notes
    assert len(backend.of_kind("judge")) == 40


def test_a_disagreeing_judge_relabels_and_drops_nothing(task):
    _, plain, _ = run(task, METHOD, answering())
    other = {"a": "p", "p": "a"}
    _, judged, _ = run(task, METHOD, answering(judge=lambda label: other[label]))
    assert judged.train.texts == plain.train.texts
    assert judged.train.labels == [other[label] for label in plain.train.labels]
    assert len(judged.notes["judged"]) == 40


def test_the_judge_is_paid_from_the_budget(task):
    backend, done, _ = run(task, METHOD, answering(), spending=SpendingLimit(requests=30))
    kinds = Counter(r.tags["kind"] for r in backend.requests)
    # Half of 30 for rows, of which a fifth for domains and instance seeds; one judge each.
    assert kinds == {"domains": 1, "instance_seeds": 2, "from_instance_seed": 12, "judge": 12}
    assert len(done.train) == 12


def test_a_budget_in_usd_asks_for_as_many_instance_seeds_as_any(task):
    spending = SpendingLimit(usd=1.0, spent_usd=lambda: 0.005 * spending.spent)
    method = METHOD.sized(10**6)
    backend, done, _ = run(task, method, answering(), spending=spending)
    assert len({line["instance_seed"] for line in done.notes["instance_seeds"]}) == 4 * 5
    assert 160 <= len(backend.requests) <= 200 + 32


def test_the_instance_seed_of_a_pair_is_its_context():
    task = SentencePair.model_validate(
        {"instruction": "Is it backed?", "text_name": "claim", "labels": {"a": "yes", "p": "no"}}
    )
    backend, done, _ = run(task, TarGEN(seed_size=20, num_instance_seeds=5), answering())
    assert len({row.context for row in done.train}) == 20
    for row in done.train:
        assert row.context is not None
        assert row.context in done.exchanges[row.provenance.request][0]
    assert all(r.tags["context"] for r in backend.of_kind("from_instance_seed"))


def test_an_llm_that_writes_no_instance_seed_is_named(task):
    silent = lambda r: Completion("") if r.tags["kind"] == "domains" else "x"  # noqa: E731
    with pytest.raises(TooFewRowsError, match=r"no domain or no instance seed.*empty"):
        run(task, METHOD, silent)


@pytest.mark.parametrize("several", [1, 2])
def test_a_row_knows_its_domain_where_two_have_the_same_instance_seed(task, several):
    def answer(request):
        match request.tags["kind"]:
            case "domains":
                return "1. orchards\n2. markets"
            case "instance_seeds":
                return "1. A red apple fell off the cart\n2. Somebody ate it at once"
            case "judge":
                return json.dumps({"label": request.tags["label"]})
            case _:
                text = f"text {request.draw}"
                return json.dumps({"text": text}) if several == 1 else f"<text>{text}</text>" * 2

    method = TarGEN(seed_size=24, num_instance_seeds=2, texts_per_prompt=several)
    _, done, _ = run(task, method, answer, texts_per_prompt=several)
    domains = defaultdict(set)
    for line in done.notes["instance_seeds"]:
        prompt, _ = done.exchanges[line["request"]]
        domains[prompt].add(line["domain"])
    # The prompts are the same for both: two seeds, two labels.
    assert len(domains) == 4
    assert all(each == {"orchards", "markets"} for each in domains.values())
