"""No method can reach the test split: not by name, and not through any object that it holds."""

import gc
from types import FunctionType, ModuleType

import pytest

from stepsynth.inputs import GoldData
from stepsynth.methods import Method, methods
from stepsynth.runner.runner import Runner
from stepsynth.students.linear import Linear
from stepsynth.taskfile.config import build_config
from stepsynth.taskfile.yaml_lines import LocatedYaml
from tests.fakes import rows

GOLD = rows(*((f"gold a {i}", "a") for i in range(8)), *((f"gold p {i}", "p") for i in range(8)))
SECRET = "the text of a test row"
TEST = rows((SECRET + " one", "a"), (SECRET + " two", "p"))


def reachable(start: object) -> list[object]:
    """Return everything that an object refers to, directly or not, but for code and modules."""
    seen: dict[int, object] = {}
    queue: list[object] = [start]
    while queue:
        value = queue.pop()
        if id(value) in seen or isinstance(value, (ModuleType, type)):
            continue
        seen[id(value)] = value
        if isinstance(value, FunctionType):
            queue += [value.__closure__, value.__defaults__]
        else:
            queue += gc.get_referents(value)
    return list(seen.values())


class Enough(Exception):
    """The method was given its set-up; what it makes of it does not matter here."""


def run(tmp_path, monkeypatch, name="zerogen"):
    given: list[object] = []
    method = methods().get(name)

    def spy(self, setup):
        found = [v for v in reachable(setup) if isinstance(v, str) and SECRET in v]
        given.append((setup, found))
        raise Enough
        yield

    (tmp_path / "corpus.jsonl").write_text('{"text": "a passage of the corpus"}\n')
    texts = "".join(f'{{"text": "{text}"}}\n' for text in ["an unlabelled text", *TEST.texts])
    (tmp_path / "texts.jsonl").write_text(texts)
    monkeypatch.setattr(method, "synthesize", spy)
    monkeypatch.setattr(Linear, "knows_meaning", True)  # `zeroshot` wants that, and never trains it
    values = {
        "task": {"labels": ["a", "p"]},
        "data": {"gold": "(given)", "corpus": "corpus.jsonl", "unlabelled": "texts.jsonl"},
        "llm": {"backend": "scripted", "rules": [{"pattern": "", "answers": ["text"]}]},
        "method": name,
        "retrieval": "bm25",
    }
    config = build_config(LocatedYaml(values, "here", {}), name="t", folder=tmp_path)
    with pytest.raises(Enough):
        Runner(config, GoldData(GOLD, test=TEST), tmp_path / "run").run()
    return given


@pytest.mark.parametrize("name", methods().names())
def test_the_test_split_cannot_be_reached_from_what_a_method_is_given(tmp_path, monkeypatch, name):
    ((setup, found),) = run(tmp_path, monkeypatch, name)
    assert found == [], "a test row can be reached from the set-up"
    assert not hasattr(setup, "test")


def test_the_search_would_find_it(tmp_path, monkeypatch):
    ((setup, _),) = run(tmp_path, monkeypatch)
    object.__setattr__(setup, "warn", lambda hidden=TEST: hidden)
    assert any(isinstance(v, str) and SECRET in v for v in reachable(setup))


def test_no_test_score_exists_before_the_method_has_ended(tmp_path):
    seen: list[bool] = []

    class Spy(Method):
        name = "spy"

        def synthesize(self, setup):
            yield from methods().get("zerogen")(seed_size=20).synthesize(setup)
            folder = tmp_path / "run"
            seen.append(any("test" in p.read_text() for p in folder.glob("rounds/*/metrics.json")))

    values = {
        "task": {"labels": ["a", "p"]},
        "data": {"gold": "(given)"},
        "llm": {
            "backend": "scripted",
            "rules": [{"pattern": "", "answers": [f"text {i}" for i in range(50)]}],
        },
        "method": Spy(),
    }
    config = build_config(LocatedYaml(values, "here", {}), name="t", folder=tmp_path)
    Runner(config, GoldData(GOLD, test=TEST), tmp_path / "run").run()
    assert seen == [False]
    assert "test" in (tmp_path / "run/rounds/0/metrics.json").read_text()
