"""Recipes in German, Japanese, Arabic and Chinese, end to end: prompts, rows, rejects, report."""

import json
import re

import pytest

import stepsynth
from stepsynth.taskfile.config import load_config
from tests.stub_server import StubServer, completion

WORDS = {
    "gnad10": [
        "Der Bericht nennt viele Zahlen",
        "Am Abend kam eine Meldung",
        "Experten sehen das so",
    ],
    "marc_ja": [
        "この商品はとても使いやすいです",
        "箱がつぶれて届きました",
        "値段のわりに良いと思います",
    ],
    "ajgt": ["الجو جميل اليوم والناس سعداء", "لا أحب هذا الزحام في المدينة", "شكراً لكل من ساعدني"],
    "chnsenticorp": ["房间很干净服务也不错", "电池用了两天就坏了", "书的内容还可以"],
}
NUMBERED = {
    "gnad10": "{}, mit Nummer {}.",
    "marc_ja": "{}，番号は{}です。",
    "ajgt": "{}، رقم {}.",
    "chnsenticorp": "{}，编号是{}。",
}


def answer_in(recipe, task):
    def answer(number, body):
        prompt = body["messages"][0]["content"]
        words = WORDS[recipe][number % 3]
        if "JSON" in prompt:
            return completion(json.dumps({"label": task.label_word(task.label_names[0])}))
        if re.search(r"\b20\b|20[个個]", prompt):
            return completion("\n".join(f"{i}. {text}" for i, text in enumerate(WORDS[recipe], 1)))
        if number % 7 == 0:
            return completion("This is the text that you asked for, and there it is.")
        return completion(NUMBERED[recipe].format(words, number))

    return answer


@pytest.mark.parametrize("recipe", list(WORDS))
def test_a_recipe_runs_in_its_language(recipe, tmp_path):
    file = tmp_path / "task.yaml"
    file.write_text(
        f"task: {{recipe: {recipe}}}\ndata: {{gold: gold.jsonl, unlabelled: texts.jsonl}}\n"
        "llm: {backend: openai_compatible, base_url: http://127.0.0.1:9/v1, model: m}\n"
        "curation: {copies: false}\n"
        "method: {name: mix, size: 6, check: 4, synthesis: {name: s3, seed_size: 36, rounds: 1}}\n",
        encoding="utf-8",
    )
    config = load_config(file)
    column = {**config.task.columns, **config.data.columns}
    gold = [
        {column["text"]: f"{WORDS[recipe][i % 3]} {word} {i}", column["label"]: name}
        for i in range(8)
        for name, word in config.task.labels.items()
    ]
    texts = [{column["text"]: f"{text} ({i})"} for i in range(4) for text in WORDS[recipe]]
    for name, rows in (("gold", gold), ("texts", texts)):
        lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (tmp_path / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")
    with StubServer(answer_in(recipe, config.task)) as server:
        url = f"llm.base_url={server.url}"
        result = stepsynth.run(file, overrides=[url], out=tmp_path / "run")
        prompts = [body["messages"][0]["content"] for body in server.bodies]
    said = {*re.findall(r"[A-Za-z]{3,}", " ".join(prompts))} - {"JSON", "label"}
    if recipe != "gnad10":
        assert not said
    else:
        assert not said & {"Write", "Answer", "Which", "the", "with", "one", "numbered"}
    assert result.summary.llm.rejected["other_language"] > 0
    assert not [row for row in result.dataset if "asked for" in row.text]
    methods = {row.provenance.method for done in result.rounds for row in done.added}
    assert methods == {"s3", "annotate"}
    assert result.summary.test is not None
    assert len({row.label for row in result.rounds[0].added}) > 1
    page = (tmp_path / "run/report.html").read_text(encoding="utf-8")
    assert 'dir="auto"' in page
    assert WORDS[recipe][0] in page
