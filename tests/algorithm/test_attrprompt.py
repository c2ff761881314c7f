"""AttrPrompt: what is discovered, what the filter drops, what a row is drawn with; SimPrompt."""

import re
from collections import Counter

import pytest
from pydantic import ValidationError

from stepsynth.errors import ConfigError
from stepsynth.methods._spending_limit import SpendingLimit
from stepsynth.methods.attrprompt import AttrPrompt
from stepsynth.methods.simprompt import SimPrompt
from stepsynth.students.linear import Linear
from stepsynth.tasks.classification import Classification
from tests.fakes import follow, rows

GOLD = rows(("red apple", "a"), ("green pear", "p"))
KEYS = {"style": ["dry", "warm", "curt"], "subtopic": ["tart", "sweet", "soft", "ripe"]}


def answer(request):
    tags = request.tags
    match tags["kind"]:
        case "dimensions":
            return "1. Style: shared\n2. Subtopic: by label\n3. Length: shared"
        case "values" if tags["dimension"] == "Style":
            return "1. dry\n2. warm\n3. curt"
        case "values":
            return "\n".join(f"{i}. {tags.get('label', 'v')}{i}" for i in range(1, 11))
        case "suits":
            # Seven of ten values of apples suit pears too; none the other way round.
            is_shared = tags["label"] == "a" and int(tags["value"][1:]) <= 7
            return "yes" if is_shared else "No."
        case "similar":
            return "1. third\n2. nothing of the kind\n3. second"
        case kind:
            return f"{kind} {tags['label']} {request.draw}"


def run(task, method, answer=answer, student=None, gold=GOLD, **changes):
    backend, (done,), warnings = follow(task, method, answer, student, gold, **changes)
    return backend, done, warnings


def test_a_row_has_one_value_of_every_dimension_and_a_length_band(task):
    backend, done, _ = run(task, AttrPrompt(seed_size=40))
    drawn = {line["request"]: line for line in done.notes["drawn"]}
    assert len(done.train) == len(drawn) == 40
    values = {(n["dimension"], n["label"]): n["values"] for n in done.notes["attributes"]}
    for row in done.train:
        line = drawn[row.provenance.request]
        prompt = done.exchanges[row.provenance.request][0]
        assert line["label"] == row.label
        assert set(line["attributes"]) == {"Style", "Subtopic"}
        assert line["attributes"]["Style"] in values["Style", None]
        assert line["attributes"]["Subtopic"] in values["Subtopic", row.label]
        for name, value in line["attributes"].items():
            assert prompt.count(f"{name}: {value}") == 1
        low, high = map(int, re.findall(r"length: (\d+) to (\d+) words", prompt)[0])
        assert (low, high) in ((30, 80), (100, 150))
        assert low == line["length"]
    assert {line["length"] for line in drawn.values()} == {30, 100}
    assert "nothing to do with" not in backend.of_kind("attributed")[0].prompt


def test_a_text_that_repeats_the_length_band_is_no_row(task):
    def echo(request):
        band = re.search(r"length: (\d+ to \d+) words", request.prompt)
        return f"1. Style: dry 2. Length: {band[1]} words." if band and request.draw % 2 else None

    _, done, _ = run(
        task, AttrPrompt(seed_size=20), lambda request: echo(request) or answer(request)
    )
    assert done.train
    assert not any("Length" in row.text for row in done.train)
    assert {unused.rejected.reason for unused in done.unused} == {"meta"}


def test_a_text_has_no_number_of_a_requirement_and_a_requirement_alone_is_no_row(task):
    def numbered(request):
        if request.tags["kind"] != "attributed":
            return answer(request)
        return "1. Style: dry" if request.draw % 2 else f"2. A red apple, number {request.draw}."

    method = AttrPrompt(seed_size=20, dimensions={"Style": ["dry"]})
    _, done, _ = run(task, method, numbered)
    assert done.train
    assert all(row.text.startswith("A red apple") for row in done.train)
    assert {unused.rejected.reason for unused in done.unused} == {"echo"}


def test_a_date_in_another_language_keeps_its_number(task):
    german = task.model_copy(update={"language": "German"})
    method = AttrPrompt(seed_size=4, dimensions={"Style": ["dry"]})
    say = lambda _: "1. Mai ist für alle frei, und wir gehen in den Park."  # noqa: E731
    _, done, _ = run(german, method, say)
    assert {row.text[:6] for row in done.train} == {"1. Mai"}


def test_values_are_drawn_uniformly_and_independently(task):
    _, done, _ = run(task, AttrPrompt(seed_size=1200, dimensions=KEYS))
    drawn = [line["attributes"] for line in done.notes["drawn"]]
    pairs = Counter((line["style"], line["subtopic"]) for line in drawn)
    assert len(pairs) == 12
    # 1,200 draws of 12 pairs: 100 each, with a standard deviation below 10.
    assert all(60 <= count <= 140 for count in pairs.values())


def test_only_dimensions_that_depend_on_the_label_are_filtered_and_five_values_at_most(task):
    backend, done, _ = run(task, AttrPrompt(seed_size=6))
    assert {r.tags["dimension"] for r in backend.of_kind("suits")} == {"Subtopic"}
    noted = {(n["dimension"], n["label"]): n for n in done.notes["attributes"]}
    assert set(noted) == {("Style", None), ("Subtopic", "a"), ("Subtopic", "p")}
    assert noted["Style", None]["dropped"] == noted["Subtopic", "p"]["dropped"] == []
    dropped = noted["Subtopic", "a"]["dropped"]
    assert dropped == [{"value": f"a{i}", "suits_one_of": ["p"]} for i in range(1, 6)]
    assert noted["Subtopic", "a"]["values"] == ["a6", "a7", "a8", "a9", "a10"]
    assert all("pear" in r.prompt for r in backend.of_kind("suits") if r.tags["label"] == "a")


def test_discovery_is_paid_from_the_budget_and_leaves_half_of_it_for_rows(task):
    # 1 for dimensions, 1 + 2 for values, 2 x 10 for the filter: 24.
    backend, done, _ = run(task, AttrPrompt(seed_size=100), spending=SpendingLimit(requests=60))
    assert len(backend.requests) == 60
    assert len(done.train) == 36
    backend, done, _ = run(task, AttrPrompt(seed_size=100), spending=SpendingLimit(requests=20))
    assert len(backend.requests) == 20
    assert len(backend.of_kind("attributed")) == len(done.train) == 10


def test_many_labels_have_similar_ones_that_a_text_is_irrelevant_to():
    task = Classification.model_validate(
        {"instruction": "Sort.", "labels": ["first", "second", "third", "fourth", "fifth"]}
    )
    method = AttrPrompt(seed_size=60, num_similar=2, many_labels=5, num_values=1)
    backend, *_ = run(task, method, student=Linear(), gold=rows(("any", "first")))
    assert len(backend.of_kind("similar")) == 5
    suits = {r.tags["label"]: r.prompt for r in backend.of_kind("suits")}
    # Named ones first, itself and unknown ones left out.
    assert "- third\n- second" in suits["first"]
    assert "- third\n- first" in suits["second"]
    written = {r.tags["label"]: r.prompt for r in backend.of_kind("attributed")}
    assert "it has nothing to do with: third; second" in written["first"]


def test_what_the_user_gives_is_not_asked_for(task):
    given = {"style": ["dry"], "taste": {"a": ["tart"], "p": ["sweet"]}, "place": "shared"}
    backend, done, _ = run(task, AttrPrompt(seed_size=6, dimensions=given))
    assert not backend.of_kind("dimensions")
    assert not backend.of_kind("suits")
    assert [r.tags["dimension"] for r in backend.of_kind("values")] == ["place"]
    for line in done.notes["drawn"]:
        assert line["attributes"]["taste"] == {"a": "tart", "p": "sweet"}[line["label"]]
        assert line["attributes"]["style"] == "dry"


def test_an_llm_that_names_no_dimension_leaves_lengths_and_a_warning(task):
    refuse = lambda r: "" if r.tags["kind"] == "dimensions" else answer(r)  # noqa: E731
    _, done, warnings = run(task, AttrPrompt(seed_size=6), refuse)
    assert len(done.train) == 6
    assert any("named no dimension" in warning for warning in warnings)


def test_talk_is_no_dimension_and_no_value(task):
    def talk(request):
        match request.tags["kind"]:
            case "dimensions":
                long = "In what can they differ from one another when only two can be shared"
                return f"1. Style: shared\n2. {long}: by label"
            case "values":
                return "1. No, I'm sorry for the misunderstanding.\n2. dry\n3. warm"
        return answer(request)

    _, done, _ = run(task, AttrPrompt(seed_size=6), talk)
    assert [(n["dimension"], n["values"]) for n in done.notes["attributes"]] == [
        ("Style", ["dry", "warm"])
    ]


def test_a_filter_that_drops_every_value_is_said(task):
    yes = lambda r: "yes" if r.tags["kind"] == "suits" else answer(r)  # noqa: E731
    _, done, warnings = run(task, AttrPrompt(seed_size=6, max_rejected=10), yes)
    assert [w for w in warnings if "every Subtopic of the label" in w] == warnings
    assert len(warnings) == 2
    assert all(set(line["attributes"]) == {"Style"} for line in done.notes["drawn"])


def test_requests_that_are_not_sent_are_said_and_no_failures(task):
    _, done, warnings = run(task, AttrPrompt(seed_size=100), spending=SpendingLimit(requests=20))
    assert "suits: 14 of 20 requests were not sent: the budget for them is used up" in warnings
    assert "" not in done.exchanges
    assert not done.unused


def test_bad_dimensions_are_refused(task):
    with pytest.raises(ValidationError, match="has no values"):
        AttrPrompt(dimensions={"style": []})
    with pytest.raises(ConfigError, match="values for every label"):
        run(task, AttrPrompt(dimensions={"taste": {"a": ["tart"]}}))


def test_simprompt_sends_one_prompt_a_label(task):
    backend, done, _ = run(task, SimPrompt(seed_size=8))
    assert {r.tags["kind"] for r in backend.requests} == {"seed"}
    assert len({r.prompt for r in backend.requests}) == 2
    assert {row.provenance.method for row in done.train} == {"simprompt"}
