"""An LLM in this process: batches, counts, ends, and what is said when it cannot run."""

import asyncio
import os
import sys
import weakref
from unittest import mock

import pytest
import torch
import transformers
from huggingface_hub.errors import HfHubHTTPError
from tokenizers import Tokenizer, models, pre_tokenizers

from stepsynth._util.pretrained import is_on_hub, quiet
from stepsynth.errors import ConfigError, ProviderError
from stepsynth.llm import LLM, Failed, Request
from stepsynth.llm.backends.transformers import Transformers, TransformersBackend
from stepsynth.llm.core.errors import GiveUpError
from stepsynth.llm.local.causal_lm import CausalLM
from stepsynth.llm.store.store import Store
from tests.fakes import answers_together

SPECIAL = ["<unk>", "<pad>", "<end>"]
WORDS = [*SPECIAL, "user", "assistant", ":", "<think>", "</think>", *(f"w{i}" for i in range(24))]
TEMPLATE = (
    "{% for m in messages %}{{ m.role }} : {{ m.content }} {% endfor %}"
    "{% if add_generation_prompt %}assistant :{% endif %}"
)
CONTEXT = 48
PROMPTS = [" ".join(f"w{(7 * i + j) % 24}" for j in range(1 + 3 * i)) for i in range(8)]


def make_model(folder, kind="llama", template=TEMPLATE, padding="<pad>"):
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", pad_token=padding, eos_token="<end>"
    )
    fast.chat_template = template
    sizes = {
        "vocab_size": len(WORDS),
        "eos_token_id": 2,
        "pad_token_id": None,
        "bos_token_id": None,
    }
    with quiet(), torch.random.fork_rng():
        torch.manual_seed(0)
        if kind == "llama":
            config = transformers.LlamaConfig(
                hidden_size=32,
                intermediate_size=32,
                num_hidden_layers=2,
                num_attention_heads=2,
                max_position_embeddings=CONTEXT,
                initializer_range=0.5,
                **sizes,
            )
            model = transformers.LlamaForCausalLM(config)
        else:
            config = transformers.GPT2Config(
                n_embd=32, n_layer=2, n_head=2, n_positions=CONTEXT, initializer_range=0.5, **sizes
            )
            model = transformers.GPT2LMHeadModel(config)
        model.get_output_embeddings().weight.data[: WORDS.index("w0")] = 0  # it says words alone
        model.save_pretrained(folder)
        fast.save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    return {
        "llama": make_model(root / "llama"),
        "gpt2": make_model(root / "gpt2", "gpt2"),
        "plain": make_model(root / "plain", template=None, padding=None),
    }


@pytest.fixture
def batches(monkeypatch):
    """The lengths of the prompts of each batch that is generated."""
    seen: list[list[int]] = []
    generate = CausalLM.generate

    def spy(self, prompts, **options):
        seen.append([len(prompt) for prompt in prompts])
        return generate(self, prompts, **options)

    monkeypatch.setattr(CausalLM, "generate", spy)
    return seen


def make_backend(model, **settings):
    settings = {"device": "cpu", "max_tokens": 12, "temperature": 0} | settings
    return TransformersBackend(Transformers(model=model, **settings), 0)


def requests_of(prompts):
    return [Request(prompt, "s", draw=i) for i, prompt in enumerate(prompts)]


ENDS = {"w0", "w8", "w16"}


def end_more_often(monkeypatch):
    """Make some words end a completion that would else come to its limit."""
    load = CausalLM.__init__

    def start(self, *args, **options):
        load(self, *args, **options)
        self._ends |= {WORDS.index(word) for word in ENDS}
        self._model.generation_config.eos_token_id = sorted(self._ends)

    monkeypatch.setattr(CausalLM, "__init__", start)


@pytest.mark.parametrize("kind", ["llama", "gpt2", "plain"])
def test_a_batch_answers_as_each_request_alone_would_be(folders, batches, monkeypatch, kind):
    end_more_often(monkeypatch)
    requests = requests_of(PROMPTS)
    together = answers_together(make_backend(folders[kind]), requests)
    assert len(batches) < len(requests)
    batches.clear()
    alone = answers_together(make_backend(folders[kind], batch_size=1), requests)
    assert [len(batch) for batch in batches] == [1] * len(requests)
    assert together == alone
    assert len({answer.text for answer in alone}) > 2
    assert {answer.truncated for answer in alone} == {True, False}


def test_tokens_are_counted_without_padding_and_up_to_the_end(folders, monkeypatch):
    end_more_often(monkeypatch)
    requests = requests_of(PROMPTS)
    for request, answer in zip(
        requests, answers_together(make_backend(folders["plain"]), requests), strict=True
    ):
        words = answer.text.split()
        assert answer.prompt_tokens == len(request.prompt.split())
        assert answer.completion_tokens == len(words) <= 12
        assert answer.truncated == (words[-1] not in ENDS)


@pytest.mark.parametrize(
    ("said", "text", "tokens", "is_cut"),
    [
        ("w1 w2 <end>", "w1 w2", (3, 0), False),
        ("<think> w1 w2 </think> w3 <end>", "w3", (6, 4), False),
        ("<think> w1", "", (2, 2), True),
        ("<end>", None, (), False),
        ("<think> w1 </think> <end>", None, (), False),
        ("<think> w1 <end>", None, (), False),
    ],
)
def test_neither_the_end_nor_thoughts_are_text(folders, monkeypatch, said, text, tokens, is_cut):
    ids = [WORDS.index(word) for word in said.split()]
    monkeypatch.setattr(CausalLM, "generate", lambda *_, **__: [ids])
    (found,) = answers_together(make_backend(folders["plain"]), requests_of(["w1"]))
    if text is None:
        assert (type(found), found.reason) == (GiveUpError, "empty")
    else:
        assert (found.text, found.prompt_tokens, found.truncated) == (text, 1, is_cut)
        assert (found.completion_tokens, found.reasoning_tokens) == tokens


def test_no_more_than_batch_size_share_a_batch_and_those_are_alike_in_length(folders, batches):
    prompts = ["w1 " * n for n in (1, 30, 2, 29, 3, 28)]
    answers_together(
        make_backend(folders["plain"], batch_size=3, max_tokens=2), requests_of(prompts)
    )
    assert sorted(batches, key=min) == [[1, 2, 3], [30, 29, 28]]


def test_the_chat_template_says_who_spoke(folders):
    request = Request("w1", "s", turns=("w2", "w3"))
    for kind, chat, prompt in (
        ("llama", "auto", "user : w1 assistant : w2 user : w3 assistant :"),
        ("llama", "never", "w1 w2 w3"),
        ("plain", "auto", "w1 w2 w3"),
    ):
        (answer,) = answers_together(make_backend(folders[kind], chat=chat), [request])
        assert answer.prompt_tokens == len(prompt.split()), (kind, chat)


def test_a_prompt_that_the_template_refuses_is_given_up(tmp_path):
    folder = make_model(tmp_path, template="{{ raise_exception('never') }}")
    (error,) = answers_together(make_backend(folder), requests_of(["w1"]))
    assert isinstance(error, GiveUpError)
    assert "never" in error.message


def test_a_prompt_longer_than_the_context_is_given_up_and_others_get_what_is_left(folders):
    prompts = ["w1 " * CONTEXT, "w1 " * (CONTEXT - 3), "w1"]
    for kind in ("llama", "gpt2"):
        backend = make_backend(folders[kind], chat="never", max_tokens=6)
        too_long, long, short = answers_together(backend, requests_of(prompts))
        assert isinstance(too_long, GiveUpError)
        assert too_long.reason == "too_long"
        assert (long.completion_tokens, long.truncated) == (3, True)
        assert short.completion_tokens == 6


def test_sampling_draws_anew_and_the_same_batch_draws_the_same(folders):
    requests = [Request("w1", "s", draw=i) for i in range(8)]
    first, again = (
        [
            a.text
            for a in answers_together(make_backend(folders["llama"], temperature=2.0), requests)
        ]
        for _ in range(2)
    )
    assert len(set(first)) > 4
    assert first == again
    other = TransformersBackend(make_backend(folders["llama"], temperature=2.0).settings, 1)
    assert [a.text for a in answers_together(other, requests)] != first


def test_all_of_the_vocabulary_is_drawn_from(folders):
    """The library's own top_k of 50 and a model's own sampling are no part of a task file."""
    backend = make_backend(folders["plain"], temperature=5, top_p=1, max_tokens=40)
    model = backend._load()
    kept = model._model.generation_config
    assert (kept.top_k, kept.top_p, kept.temperature, kept.do_sample) == (0, 1, 5, True)


def test_generators_of_others_are_left_alone(folders):
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    answers_together(make_backend(folders["llama"], temperature=1), requests_of(["w1"]))
    assert torch.equal(torch.rand(1), expected)


@pytest.mark.parametrize(
    "said", ["CUDA out of memory", "DefaultCPUAllocator: can't allocate memory"]
)
def test_batches_that_do_not_fit_are_halved_and_it_is_said_once(
    folders, batches, monkeypatch, said
):
    expected = answers_together(make_backend(folders["llama"]), requests_of(PROMPTS))
    batches.clear()
    generate = CausalLM.generate

    def small(self, prompts, **options):
        if len(prompts) > 2:
            raise RuntimeError(said)
        return generate(self, prompts, **options)

    monkeypatch.setattr(CausalLM, "generate", small)
    notices: list[str] = []
    backend = make_backend(folders["llama"], batch_size=8)
    backend.on_notice = notices.append
    assert answers_together(backend, requests_of(PROMPTS)) == expected
    assert [len(batch) for batch in batches] == [2, 2, 2, 2]
    assert len(notices) == 1


def test_a_request_that_does_not_fit_alone_is_given_up(folders, monkeypatch):
    def never(self, prompts, **options):
        raise torch.OutOfMemoryError("no")

    monkeypatch.setattr(CausalLM, "generate", never)
    errors = answers_together(make_backend(folders["llama"]), requests_of(PROMPTS[:2]))
    assert [error.reason for error in errors] == ["out_of_memory"] * 2


def test_a_model_that_breaks_stops_the_run_with_one_line(folders, monkeypatch):
    def broken(self, prompts, **options):
        raise RuntimeError("probability tensor contains\n inf or nan")

    monkeypatch.setattr(CausalLM, "generate", broken)
    errors = answers_together(make_backend(folders["llama"]), requests_of(PROMPTS))
    assert all(isinstance(error, ProviderError) for error in errors)
    assert "contains inf or nan" in errors[0].message
    assert "float32" in errors[0].hint


def test_what_nobody_waits_for_is_not_generated_to_its_end(folders):
    backend = make_backend(folders["llama"], max_tokens=40)
    model = backend._load()
    calls = iter([False, False, True])
    written = model.generate([[9]], longest=40, random_seed=0, is_unwanted=lambda: next(calls))
    assert len(written[0]) == 3


@pytest.mark.parametrize("token", ["w1", "<end>"])
def test_ping_generates_one_token_and_close_frees_the_model(folders, monkeypatch, token):
    asked = []

    def generate(self, prompts, *, longest, **_):
        asked.append((len(prompts), longest))
        return [[WORDS.index(token)]]

    monkeypatch.setattr(CausalLM, "generate", generate)
    backend = make_backend(folders["llama"])

    async def ping():
        await backend.ping()
        model = weakref.ref(backend._loading.result())
        await backend.close()
        return model

    model = asyncio.run(ping())
    assert asked == [(1, 1)]
    assert model() is None


def test_it_answers_through_the_engine_and_then_from_the_store(folders, batches, tmp_path):
    requests = [Request(prompt, "s") for prompt in PROMPTS * 2]

    def run():
        backend = make_backend(folders["llama"], temperature=1, batch_size=4)
        llm = LLM(backend, store=Store(tmp_path / "store.sqlite"), run="r")
        try:
            return llm.generate([*requests, Request("w1 " * CONTEXT, "s")], phase="test")
        finally:
            llm.close()

    *answers, too_long = run()
    assert isinstance(too_long, Failed)
    assert too_long.reason == "too_long"
    assert [answer.draw for answer in answers] == list(range(16))
    assert sum(map(len, batches)) == 16
    assert len(batches) < 16
    batches.clear()
    assert run()[:-1] == answers
    assert batches == []


def test_where_and_how_fast_it_runs_is_no_part_of_a_request():
    plain = Transformers(model="m")
    other = Transformers(model="m", device="cpu", dtype="float16", batch_size=2)
    assert plain.request_identity() == other.request_identity()
    assert plain.identity() == other.identity()
    never = Transformers(model="m", chat="never")
    assert never.request_identity() != plain.request_identity()
    assert never.identity() != plain.identity()


def test_other_files_in_a_folder_are_another_llm(tmp_path):
    def identities(content):
        (tmp_path / "model.safetensors").write_bytes(content)
        os.utime(tmp_path / "model.safetensors", ns=(0, len(content)))  # its clock is coarse
        settings = Transformers(model=str(tmp_path))
        return settings.request_identity(), settings.identity()

    first = identities(b"one")
    assert identities(b"one") == first
    for one, other in zip(first, identities(b"three"), strict=True):
        assert one != other


def test_a_hub_that_is_away_is_not_asked_again_and_again(monkeypatch):
    def unreachable(*_, **__):
        raise ConnectionError("no route")

    asked = []
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.HfApi.model_info", unreachable)
    monkeypatch.setattr("socket.getaddrinfo", lambda *args, **_: asked.append(args))
    errors = answers_together(make_backend("no-such/model"), requests_of(PROMPTS))
    assert all(isinstance(error, ConfigError) for error in errors)
    assert "no-such/model" in errors[0].message
    assert "Hugging Face hub" in errors[0].hint
    # Left to itself the library tries six times; its notice of who calls may try once.
    assert len(asked) < 2


def test_a_hub_that_answers_says_best_what_is_wrong(monkeypatch, tmp_path):
    def refused(*_, **__):
        raise HfHubHTTPError("no such model", response=mock.MagicMock())

    monkeypatch.setattr("huggingface_hub.HfApi.model_info", refused)
    assert is_on_hub("no-such/model")
    assert not is_on_hub(str(tmp_path))


def test_a_folder_that_holds_no_usable_model_is_refused(folders, tmp_path):
    from safetensors.torch import load_file, save_file

    (empty,) = answers_together(make_backend(str(tmp_path)), requests_of(["w1"]))
    assert isinstance(empty, ConfigError)
    folder = tmp_path / "half"
    weights = load_file(make_model(folder) + "/model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    (half,) = answers_together(make_backend(str(folder)), requests_of(["w1"]))
    assert isinstance(half, ConfigError)
    assert "up_proj" in half.message
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    (pickled,) = answers_together(make_backend(str(folder)), requests_of(["w1"]))
    assert isinstance(pickled, ConfigError)
    assert "safetensors" in pickled.message


def test_a_missing_library_names_the_extra(monkeypatch, folders):
    monkeypatch.setitem(sys.modules, "torch", None)
    (error,) = answers_together(make_backend(folders["llama"]), requests_of(["w1"]))
    assert isinstance(error, ConfigError)
    assert "stepsynth[transformers]" in error.hint


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_not_there_is_named(folders):
    (error,) = answers_together(make_backend(folders["llama"], device="cuda"), requests_of(["w1"]))
    assert isinstance(error, ConfigError)
    assert "llm.device" in error.message
