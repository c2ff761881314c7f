"""Several texts from one request: how they are told apart, counted, recorded and replayed."""

import json
from dataclasses import replace

import pytest

import stepsynth
from stepsynth import Replay
from stepsynth._util.files import write_json, write_jsonl
from stepsynth.llm import Completion
from stepsynth.llm.core.errors import GiveUpError
from stepsynth.methods import WritingMethod, methods
from stepsynth.methods._spending_limit import SpendingLimit
from stepsynth.methods._training import run_method
from stepsynth.methods._writer import Writer
from stepsynth.methods.fewgen import FewGen
from stepsynth.methods.goldgen import GoldGen
from stepsynth.methods.s3 import S3
from stepsynth.methods.zerogen import ZeroGen
from stepsynth.prompts.several import split_texts
from stepsynth.records import Context, Dataset, Example, Rejected
from stepsynth.runfolder import Run, RunFolder
from stepsynth.runfolder.recording import write_recording
from stepsynth.runner.equal_budget import EqualBudget
from stepsynth.tasks.extractive_qa import ExtractiveQA
from stepsynth.tasks.sentence_pair import SentencePair
from tests.contract.test_registries import CORPUS
from tests.e2e.test_families import content, synthesize
from tests.fakes import FakeBackend, WordIndex, WrongOn, answer_anything, make_setup, rows

GOLD = rows(*((f"gold {label} {i}", label) for label in "ap" for i in range(4)))


def number_of(request) -> int:
    """Return how many texts a request asks for."""
    _, _, asked = request.prompt.partition("\n\nWrite ")
    head = request.prompt.rsplit("\n\nWrite ", 1)[-1].split(" of these ")
    return int(head[0]) if asked and len(head) > 1 and head[0].isdigit() else 1


def in_tags(*texts: str) -> str:
    return "\n".join(f"<text>{text}</text>" for text in texts)


def answer(request):
    if request.tags["kind"] == "rationale":
        return answer_anything(request)
    number = number_of(request)
    texts = [f"{request.stream} {request.draw} {i}" for i in range(number)]
    return in_tags(*texts) if number > 1 else texts[0]


def prepare(task, answer, method, *, gold=GOLD, **values):
    """Return a fake LLM, a set-up that asks it for as many texts as the method says, warnings."""
    backend = FakeBackend(answer)
    setup, warnings = make_setup(task, backend, WrongOn(), gold)
    values |= {"texts_per_prompt": method.texts_per_prompt}
    return backend, replace(setup, **values), warnings


def seed(method, task, answer=answer, **values):
    """Return the LLM, the seed data that it wrote, and warnings; nothing is trained."""
    backend, setup, warnings = prepare(task, answer, method, **values)
    writer = Writer(setup, method.name, seen=set() if method.drop_duplicates else None)
    (method.write_rows if hasattr(method, "write_rows") else method.write_seed_data)(writer)
    setup.llm.close()
    return backend, writer.written, warnings


def seeds_of(backend):
    """Return the requests for seed data in the order of their draws, however they were sent."""
    return sorted(
        (r for r in backend.requests if r.stream in ("seed", "few_shot")), key=lambda r: r.draw
    )


def texts(parts) -> list[str]:
    return [part.text for part in parts]


@pytest.mark.parametrize(
    "completion",
    [
        "<text>one</text>\n<text>two</text>",
        "<text>one</text><text>two</text>",
        "Sure, here they are:\n\n<text>\none\n</text>\n\n<TEXT>\ntwo\n</TEXT>\nI hope this helps!",
        "<text>one\n<text>two",
        "<text>one</text>\n<text>two",
        '<text 1>one</text>\n<text id="2">two</text>',
        "<think>say <text>no</text></think><text>one</text><text>two</text>",
        "1. one\n2. two",
        "**1.** one\n\n**2.** two",
        '["one", "two"]',
        '```json\n["one", "two"]\n```',
    ],
)
def test_texts_are_told_apart(completion):
    assert texts(split_texts(completion)) == ["one", "two"]


def test_a_text_may_hold_tags_and_numbers():
    html = "a <text>label</text> b"
    assert texts(split_texts(in_tags(html, "c"))) == [html, "c"]
    assert texts(split_texts("1. first\n3. is no text\n2. second")) == [
        "first\n3. is no text",
        "second",
    ]
    assert texts(split_texts("<textarea>\n<text>a</text>\n</textarea>")) == ["a"]


def test_what_is_not_clearly_one_text_is_marked():
    nested = "<text>\nhow to draw:\n<text>hi</text>\nthe end\n</text>\n<text>good</text>"
    assert [part.is_broken for part in split_texts(nested)] == [True, True, False]
    unclosed = "<text>a <text>b\n<text>c</text>"
    assert [part.is_broken for part in split_texts(unclosed)] == [True, False]


@pytest.mark.parametrize(
    ("completion", "truncated", "reason"),
    [
        ("one text and no tag", False, "no_texts"),
        ("", False, "no_texts"),
        ("</text></text>", False, "no_texts"),
        ("one text and", True, "truncated"),
        ('["one", "tw', True, "truncated"),
        ("I'm sorry, but I cannot help with that request.", False, "refusal"),
        ("[" * 100_000, False, "no_texts"),
        ("[1, 2]", False, "no_texts"),
    ],
)
def test_where_none_can_be_told_apart_the_answer_is_rejected(completion, truncated, reason):
    assert split_texts(completion, truncated=truncated) == Rejected(reason, completion)


@pytest.mark.parametrize("size", [10, 12])
def test_a_request_serves_k_rows_with_the_label_and_reasons_that_were_drawn(task, size):
    method = S3(seed_size=size, rounds=0, num_rationales=3, texts_per_prompt=5)
    backend, done, warnings = seed(method, task)
    asked = seeds_of(backend)
    assert [number_of(request) for request in asked] == [5, 5, 2][: -(-size // 5)]
    assert len(done.rows) == size
    assert warnings == []
    assert len({(r.provenance.request, r.provenance.part) for r in done.rows}) == size
    assert [r.provenance.part for r in done.rows[:5]] == [1, 2, 3, 4, 5]
    assert [r.label for r in done.rows] == [
        request.tags["label"] for request in asked for _ in range(number_of(request))
    ]
    assert all("things like these:\n- " in request.prompt for request in asked)
    sent = done.exchanges[done.rows[0].provenance.request]
    assert sent[0] == asked[0].prompt


def test_one_text_alone_is_asked_for_as_ever(task):
    runs = []
    for k in (1, 4):
        method = FewGen(seed_size=26, shots=2, texts_per_prompt=k)
        backend, setup, _ = prepare(task, answer, method)
        (done,) = run_method(method, setup)
        setup.llm.close()
        runs.append((seeds_of(backend), done.added))
    (one, plain), (four, several) = runs
    assert [number_of(r) for r in four] == [4, 4, 4, 4, 4, 4, 2]
    # The shots and label of the first prompt are those of a run that asks for one text.
    assert four[0].prompt.startswith(one[0].prompt)
    assert four[0].stream == one[0].stream
    assert several[3].provenance.parents == plain[0].provenance.parents
    assert "part" not in plain[0].to_dict()["provenance"]
    assert several.to_pandas()["part"].tolist() == [1, 2, 3, 4] * 6 + [1, 2]


def test_pairs_of_one_request_share_their_context():
    task = SentencePair(labels={"a": "yes", "p": "no"})
    contexts = [Context(f"context {i}") for i in range(6)]
    gold = Dataset(Example(f"gold {i}", "ap"[i % 2], f"context {i}") for i in range(6))
    method = ZeroGen(seed_size=9, texts_per_prompt=3)
    backend, done, _ = seed(method, task, contexts=contexts, gold=gold)
    assert [number_of(request) for request in seeds_of(backend)] == [3, 3, 3]
    assert [r.context for r in done.rows] == [
        request.tags["context"] for request in seeds_of(backend) for _ in range(3)
    ]
    assert len({r.context for r in done.rows}) == 3


def test_the_llm_writes_no_more_contexts_than_prompts_need():
    task = SentencePair(labels={"a": "yes", "p": "no"})
    gold = Dataset([Example("gold", "a", "context")])

    def write(request):
        is_context = request.tags["kind"] == "context"
        return f"told {request.draw}" if is_context else answer(request)

    backend, _, _ = seed(ZeroGen(seed_size=12, texts_per_prompt=3), task, write, gold=gold)
    assert (len(backend.of_kind("context")), len(backend.of_kind("seed"))) == (2, 4)


def test_questions_with_new_answers_are_read_from_one_request():
    passage = "Figs grew in Lima in 1983."
    read = ExtractiveQA().read_example(
        {"context": passage, "text": "Where?", "answers": {"text": ["Lima"], "answer_start": [13]}}
    )
    task = ExtractiveQA(extrapolate="new_answer")
    found = in_tags(
        '{"question": "When?", "answer": "1983"}',
        "Question: What?\nAnswer: Figs",
        '{"question": "Who?", "answer": "Nobody"}',
    )

    def say(request):
        assert request.schema is None  # it is that of one question
        return found

    backend, setup, _ = prepare(task, say, GoldGen(texts_per_prompt=3), gold=Dataset([read]))
    writer = Writer(setup, "goldgen", 1)
    writer.write([writer.extrapolation(read)] * 3, phase="test")
    setup.llm.close()
    written = writer.written
    assert [(row.text, str(row.label)) for row in written.rows] == [
        ("When?", "1983"),
        ("What?", "Figs"),
    ]
    assert [item.rejected.reason for item in written.unused] == ["answer_not_in_passage"]
    assert len(backend.requests) == 1


def unused_of(written) -> list[tuple[str, int]]:
    return [(u.rejected.reason, u.provenance.part) for u in written.unused]


def first(bad):
    """Return what answers the first request for rows in another way."""
    return lambda request: (
        bad if request.draw == 0 and "seed" in request.stream else answer(request)
    )


def test_too_few_texts_are_missing_and_replaced(task):
    method = ZeroGen(seed_size=5, texts_per_prompt=5)
    backend, written, _ = seed(method, task, first(in_tags("one", "two", "three")))
    assert unused_of(written) == [("missing", 4), ("missing", 5)]
    assert [number_of(request) for request in backend.requests] == [5, 2]
    assert len(written.rows) == 5


def test_too_many_texts_are_left_out_and_counted(task):
    method = ZeroGen(seed_size=4, texts_per_prompt=2)
    _, written, warnings = seed(method, task, first(in_tags("one", "two", "three", "four")))
    assert unused_of(written) == []
    assert texts(written.rows)[:2] == ["one", "two"]
    assert len(written.rows) == 4
    assert warnings == ["seed data: 2 texts more than were asked for were left out"]


CUT_OFF = Completion("<text>one</text>\n<text>two</text>\n<text>thr", truncated=True)
TALK = in_tags("Sure, here is one:\n\n“crisp”", "...", "I cannot do this task.", "red (apple)")
NESTED = "<text>\nhow to draw:\n<text>hi</text>\nthe end\n</text>"


@pytest.mark.parametrize(
    ("number", "said", "unused", "kept"),
    [
        (4, CUT_OFF, [("truncated", 3), ("missing", 4)], ["one", "two"]),
        (4, TALK, [("empty", 2), ("refusal", 3)], ["crisp", "red"]),
        (3, in_tags("red", "Red!", "round"), [("duplicate", 2)], ["red", "round"]),
        (2, NESTED, [("broken_tags", 1), ("broken_tags", 2)], []),
    ],
    ids=["the last is cut off", "each is read by itself", "the same again", "broken tags"],
)
def test_what_is_no_text_of_its_own_becomes_no_row(task, number, said, unused, kept):
    method = ZeroGen(seed_size=number, texts_per_prompt=number, drop_duplicates=True)
    _, written, _ = seed(method, task, first(said))
    assert unused_of(written) == unused
    assert texts(written.rows)[: len(kept)] == kept


def test_a_budget_counts_requests(task):
    spending = SpendingLimit(requests=3)
    backend, done, _ = seed(ZeroGen(seed_size=100, texts_per_prompt=4), task, spending=spending)
    assert (len(backend.requests), spending.spent, len(done.rows)) == (3, 3, 12)
    method = EqualBudget("calls", 30).apply(ZeroGen(texts_per_prompt=4))
    assert method.seed_size == 120
    assert EqualBudget("rows", 30).apply(ZeroGen(texts_per_prompt=4)).seed_size == 30


def test_a_request_that_fails_is_listed_once(task):
    def refuse(request):
        if request.draw == 0:
            raise GiveUpError("exhausted", "nothing is left")
        return answer(request)

    backend, written, warnings = seed(ZeroGen(seed_size=3, texts_per_prompt=3), task, refuse)
    assert [(u.is_failed, u.provenance.part) for u in written.unused] == [(True, 0)]
    assert "1 of 1 requests failed" in warnings[0]
    assert [number_of(request) for request in backend.requests] == [3, 1]


WRITING = [name for name in methods().names() if issubclass(methods().get(name), WritingMethod)]


@pytest.mark.parametrize("name", WRITING)
def test_every_method_that_has_texts_written_can_ask_for_several(task, name):
    fields = methods().get(name).model_fields
    sizes = {"size": 40, "seed_size": 32, "initial": 20, "rounds": 1, "max_added": 8}
    options = {key: value for key, value in sizes.items() if key in fields}
    if name == "synthesizrr":
        options |= {"variant": "non_retricl", "content_cosines": (0.0, 1.0), "min_words": 1}
    method = methods().get(name).model_validate({"texts_per_prompt": 4, **options})
    gold = rows(*((f"a red {label} fell {i}", label) for label in "ap" for i in range(6)))

    def say(request):
        return answer(request) if number_of(request) > 1 else answer_anything(request)

    backend, setup, _ = prepare(task, say, method, gold=gold, index=WordIndex(CORPUS))
    found = [row for done in run_method(method, setup) for row in done.added]
    setup.llm.close()
    assert {row.provenance.part for row in found} >= {1, 2, 3, 4}
    assert sum(r.tags["kind"] != "judge" for r in backend.requests) < len(found)


PAIRS = {
    "backend": "scripted",
    "rules": [
        {
            "pattern": r"(?s)(\w+) grew in (\w+).*that is (true|false)\b.*Write 3 of",
            "answers": [
                r"<text>\1 are \3</text><text>\2 is \3</text><text>yes, \1</text><text>5</text>",
                r"<text>no \1 is \3</text>\n<text>...</text>\n<text>all \1",
                r"1. some \1\n2. more \1",
                r"only one \1",
            ],
        },
        {
            "pattern": r"(?s)(\w+) grew in (\w+).*that is (true|false)\b.*Write 2 of",
            "answers": [r"<text>\1 grew \3</text><text>the \1</text>", r"<text>\1"],
        },
        {
            "pattern": r"(?s)(\w+) grew in.*that is (true|false)\b",
            "answers": [r"\1 grew \2", "..."],
        },
    ],
}


@pytest.mark.slow
@pytest.mark.parametrize("method", [S3, GoldGen])
def test_an_exported_run_is_replayed_the_same(tmp_path, method):
    sizes = {"seed_size": 14, **({"rounds": 2} if method is S3 else {"size": 24})}
    options = {"extrapolations_per_error": 3} if method is S3 else {}
    chosen = method(texts_per_prompt=3, **sizes, **options)
    first = synthesize("pairs", tmp_path / "first", llm=PAIRS, method=chosen)
    results = [first]
    for name in ("again", "and again"):
        path = tmp_path / f"{name}.jsonl"
        write_recording(Run(results[-1].folder), path)
        llm = Replay(recordings=(str(path),))
        results.append(synthesize("pairs", tmp_path / name, llm=llm, method=chosen))
    assert any("part" in row["provenance"] for row in content(first))
    assert content(results[1]) == content(first)
    recordings = [(tmp_path / f"{n}.jsonl").read_bytes() for n in ("again", "and again")]
    assert recordings[0] == recordings[1]
    assert results[1].summary.llm.failed == 0
    rejected = first.summary.llm.rejected
    assert results[1].summary.llm.rejected == rejected
    assert {"missing", "no_texts", "empty"} <= set(rejected)


def test_the_recording_of_a_request_is_one_line_and_says_that_it_was_cut(tmp_path):
    origin = {"method": "zerogen", "kind": "seed", "parents": [], "draw": 3, "request": "r"}
    shared = {"label": "a", "prompt": "Write.", "completion": "<text>one</text><text>tw"}
    kept = {**shared, "text": "one", "provenance": {**origin, "part": 1}}
    cut = {**shared, "reason": "truncated", "provenance": {**origin, "part": 2}}
    lacking = {**shared, "reason": "missing", "provenance": {**origin, "part": 3}}
    place = RunFolder(tmp_path).round(0)
    write_jsonl(place / "examples.jsonl", [kept])
    write_jsonl(place / "rejected.jsonl", [cut, lacking])
    write_json(place / "metrics.json", {})
    assert write_recording(Run(tmp_path), tmp_path / "r.jsonl") == 1
    assert json.loads((tmp_path / "r.jsonl").read_text()) == {
        **{"kind": "seed", "label": "a", "draw": 3, "truncated": True},
        "completion": shared["completion"],
    }


def older(folder):
    """Make a run folder that was written before two keys were there."""
    path = RunFolder(folder).identity
    known = json.loads(path.read_text())
    del known["method"]["texts_per_prompt"], known["curation"]["correct"]
    path.write_text(json.dumps(known))
    return path


@pytest.mark.slow
def test_a_folder_from_before_the_keys_goes_on_with_their_defaults_alone(tmp_path):
    method = {"name": "zerogen", "seed_size": 6}
    done = synthesize("pairs", tmp_path / "run", method=method)
    before = RunFolder(done.folder).dataset.read_bytes()
    path = older(done.folder)
    written = path.read_text()
    again = synthesize("pairs", tmp_path / "run", method=method)
    assert RunFolder(again.folder).dataset.read_bytes() == before
    assert again.summary.llm.requests == 0
    # The store's ledger knows the run by the identity that it began with.
    assert json.loads(path.read_text()) == json.loads(written)
    with pytest.raises(
        stepsynth.StepsynthError, match=r"another run: its method\.texts_per_prompt"
    ):
        synthesize("pairs", tmp_path / "run", method={**method, "texts_per_prompt": 2})


def test_a_number_of_each_text_within_its_tags_is_no_part_of_it():
    said = "<text>1. It broke.</text>\n<text>\n2. It leaks.\n</text>"
    assert [part.text for part in split_texts(said)] == ["It broke.", "It leaks."]
    said = "<text>1. FC Köln wins.</text>\n<text>It leaks.</text>"
    assert [part.text for part in split_texts(said)] == ["1. FC Köln wins.", "It leaks."]
