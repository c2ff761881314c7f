"""Each wrong task file gives one message: the file, the line, the key, what was expected."""

from pathlib import Path

import pytest

from stepsynth.errors import ConfigError, PromptError, StepsynthError, UnknownNameError
from stepsynth.records import Example
from stepsynth.runfolder.folder import dump_yaml
from stepsynth.taskfile.config import load_config
from stepsynth.taskfile.yaml_lines import LocatedYaml, build
from stepsynth.tasks.classification import Classification
from stepsynth.tasks.extractive_qa import ExtractiveQA
from stepsynth.tasks.sentence_pair import SentencePair

TASK = """\
task:
  kind: classification
  instruction: Sort it.
  labels: [yes, no]
data:
  gold: gold.jsonl
llm:
  backend: scripted
  rules: [{pattern: "", answers: ["x"]}]
student: linear
method: {name: s3, seed_size: 10}
"""


@pytest.fixture
def load(tmp_path):
    def load(text=TASK, *overrides):
        path = tmp_path / "my-task.yaml"
        path.write_text(text, encoding="utf-8")
        return load_config(path, overrides)

    return load


def test_a_task_file_becomes_objects(load, tmp_path):
    config = load()
    assert config.name == "my-task"
    assert config.task.label_names == ("yes", "no")  # YAML 1.2: they stay text
    assert config.data.gold == str(tmp_path / "gold.jsonl")
    assert (config.student.name, config.method.name, config.llm.backend) == (
        "linear",
        "s3",
        "scripted",
    )
    assert config.method.rounds == 2


def test_every_default_is_in_the_resolved_configuration(load):
    resolved = load().to_dict()
    assert resolved["method"]["rationales_per_prompt"] == 3
    assert resolved["llm"]["temperature"] == 0.9
    assert "seed_size: 10" in dump_yaml(resolved)


@pytest.mark.parametrize(
    ("change", "message", "hint"),
    [
        (
            ("seed_size: 10", "seed_sise: 10"),
            r"line 11: method\.seed_sise: unknown key",
            "seed_size",
        ),
        (
            ("seed_size: 10", "seed_size: -1"),
            r"line 11: method\.seed_size: .*greater than 0.*-1",
            "",
        ),
        (("seed_size: 10", "rounds: two"), r"line 11: method\.rounds: .*integer.*'two'", ""),
        (("name: s3", "name: s33"), r"line 11: method\.name: no method is named 's33'", "s3"),
        (("student: linear", "student: lineer"), r"no student is named 'lineer'", "linear"),
        (
            ("backend: scripted", "backend: script"),
            r"line 8: llm\.backend: no LLM backend",
            "scripted",
        ),
        (
            ("kind: classification", "kind: classify"),
            r"line 2: task\.kind: no kind",
            "classification",
        ),
        (("data:", "dat:"), r"line 5: dat: unknown key", "data"),
        (("  gold: gold.jsonl", "  gild: x"), r"data\.g[oi]ld: ", ""),
        (
            ("  gold: gold.jsonl", "  gold: $NO_SUCH_PLACE/x"),
            r"line 6: data\.gold: .*NO_SUCH_PLACE",
            "",
        ),
        (("labels: [yes, no]", "labels: [yes]"), r"line 4: task\.labels: .*two or more", ""),
        (("labels: [yes, no]", "labels: [a, a]"), r"line 4: task\.labels: .*different", ""),
        (("instruction: Sort it.", "recipe: imbd"), r"line 3: task\.recipe: no recipe", "imdb"),
        (("task:", "task: ["), r"line \d+: this is no YAML", ""),
        (
            ("gold: gold.jsonl", "columns: {texts: a}\n  gold: x"),
            r"columns\.texts: .*no field",
            "text",
        ),
        (("gold: gold.jsonl", "gold: x\n  split: {mine: 1.5}"), r"split\.mine: a share", ""),
        (("  backend: scripted\n", ""), r"llm: `backend` is required", ""),
        (("instruction: Sort it.", "prompts: {sead: x.j2}"), r"prompts", ""),
    ],
)
def test_what_is_wrong_is_said_with_its_place(load, change, message, hint):
    with pytest.raises(StepsynthError, match=message) as caught:
        load(TASK.replace(*change))
    assert "my-task.yaml" in str(caught.value) or isinstance(caught.value, UnknownNameError)
    assert hint in caught.value.hint
    assert caught.value.exit_code == 2


def test_a_method_that_needs_an_llm_says_so(load):
    text = TASK[: TASK.index("llm:")] + "method: zerogen\n"
    with pytest.raises(ConfigError, match="there is no `llm` section"):
        load(text)
    assert load(text.replace("zerogen", "gold")).llm is None


def test_overrides_win_and_are_typed(load):
    config = load(
        TASK, "method.rounds=5", "method.rationales=false", "llm.model=3b", "random_seed=7"
    )
    assert (config.method.rounds, config.method.rationales) == (5, False)
    assert (config.llm.model, config.random_seed) == ("3b", 7)


def test_an_override_may_replace_a_section_and_then_set_its_keys(load):
    config = load(TASK, "method=zerogen", "method.seed_size=3")
    assert (config.method.name, config.method.seed_size) == ("zerogen", 3)
    config = load(TASK, "llm={backend: replay, recordings: [r.jsonl]}")
    assert config.llm.recordings[0].endswith("/r.jsonl")


REPLAY = "llm={backend: replay, recordings: [r.jsonl]}"


@pytest.mark.parametrize(
    "overrides",
    [
        ("method.seed_size=7", "method.name=zerogen"),
        ("method.seed_size=7", "method=zerogen"),
        ("method.name=zerogen", "method.seed_size=7"),
    ],
)
def test_a_section_that_is_replaced_loses_no_override(load, overrides):
    assert load(TASK, *overrides).method.seed_size == 7


def test_the_name_that_a_section_has_already_changes_nothing(load):
    assert load(TASK, "method.name=s3").method.seed_size == 10
    assert load(TASK, "method=s3").method.seed_size == 10
    student = "student: {name: linear, C: 3}"
    assert load(TASK.replace("student: linear", student), "student.name=linear").student.C == 3
    assert load(TASK, "method.name=goldgen").method.seed_size == 1000


@pytest.mark.parametrize(
    ("overrides", "key"),
    [
        *(
            ([REPLAY, f"llm.{key}=1"], f"llm.{key}")
            for key in ("rpm", "temperature", "max_tokens", "concurrency", "store", "price")
        ),
        (["llm.rpm=1"], "llm.rpm"),
        *(
            ([f"method={name}", f"method.{key}=both"], f"method.{key}")
            for name in ("gold", "llm")
            for key in ("train_on", "gold_weight", "reweight", "texts_per_prompt")
        ),
        (["method=regen", "data.corpus=c.jsonl", "method.texts_per_prompt=2"], "texts_per_prompt"),
        (["llm.phases={judge: {backend: replay, recordings: [r.jsonl], rpm: 3}}"], "judge.rpm"),
        (["llm.phases={judge: [{model: x}, {price: {prmpt: 3}}]}"], "judge.1.price.prmpt"),
    ],
)
def test_a_key_stands_only_where_it_is_used(load, overrides, key):
    with pytest.raises(ConfigError, match=rf"{key}: unknown key"):
        load(TASK, *overrides)


def test_a_phase_is_named_as_it_stands_in_the_file(load):
    phases = "  phases:\n    judge:\n      temperature: warm\nstudent"
    with pytest.raises(ConfigError, match=r"line 12: llm\.phases\.judge\.temperature: Input"):
        load(TASK.replace("\nstudent", "\n" + phases, 1))


def test_a_phase_may_be_a_recording_that_has_not_the_keys_of_the_main_llm(load, tmp_path):
    config = load(
        TASK,
        "llm.concurrency=3",
        "llm.store=shared.sqlite",
        "llm.phases={judge: {backend: replay, recordings: [r.jsonl]}}",
    )
    assert config.llm.phases["judge"][0].recordings == (str(tmp_path / "r.jsonl"),)
    assert config.llm.store_path(Path("own")) == tmp_path / "shared.sqlite"


@pytest.mark.parametrize("override", ["method.rounds", "=3"])
def test_a_wrong_override_is_named(load, override):
    with pytest.raises(ConfigError, match="--set"):
        load(TASK, override)


def test_a_wrong_key_of_a_section_that_may_be_left_out_is_told_from_its_own_keys(load):
    with pytest.raises(ConfigError, match="Known keys here: prompt, completion, cached") as caught:
        load(TASK, "llm.price={promt: 1, completion: 2}")
    assert "prompt" in (caught.value.hint or "")


def test_the_value_of_an_override_is_not_repeated(load):
    with pytest.raises(ConfigError, match="unknown key") as caught:
        load(TASK, "llm.api_key=sk-secret")
    assert "sk-secret" not in str(caught.value)


def test_prompts_come_from_files_beside_the_task_file(load, tmp_path):
    (tmp_path / "seed.j2").write_text("Ecris: {{ label_word }}", encoding="utf-8")
    text = TASK.replace("instruction: Sort it.", "prompts: {seed: seed.j2}")
    assert load(text).task.seed_prompt(Example("", "yes")) == "Ecris: yes"
    with pytest.raises(ConfigError, match=r"line 3: task\.prompts\.seed: .*cannot be read"):
        load(text.replace("seed.j2", "none.j2"))
    (tmp_path / "seed.j2").write_text("{{ lable_word }}", encoding="utf-8")
    with pytest.raises(PromptError, match=r"my-task\.yaml: .*lable_word"):
        load(text)


def test_a_preset_comes_before_the_hyper_parameters_of_a_recipe_and_after_ones_own(load):
    llm = TASK[TASK.index("llm:") : TASK.index("student:")]
    text = f"task: {{recipe: imdb}}\ndata: {{gold: g.jsonl}}\n{llm}student: transformer\n"
    assert load(text).student.learning_rate == 5e-6
    own = load(text, "student.model=modernbert-base", "student.epochs=3").student
    assert (own.model, own.learning_rate) == ("answerdotai/ModernBERT-base", 8e-5)
    assert (own.epochs, own.warmup) == (3, 0.06)
    assert load(text, "student.model=some/encoder").student.learning_rate == 5e-6


@pytest.mark.parametrize("student", ["linear", "auto", "transformer", "{name: static, tfidf: no}"])
def test_zeroshot_is_refused_with_a_student_without_a_sentence_encoder(load, student):
    with pytest.raises(ConfigError, match="'zeroshot' needs a student with a sentence enc") as e:
        load(TASK, "method=zeroshot", f"student={student}")
    assert e.value.hint == "student: embedding"
    for name in ("embedding", "setfit"):
        assert load(TASK, "method=zeroshot", f"student={name}").student.name == name


def test_setfit_is_refused_where_it_learns_nothing(load):
    pairs = TASK.replace("kind: classification", "kind: sentence_pair")
    with pytest.raises(ConfigError, match="'setfit' cannot learn sentence_pair"):
        load(pairs, "student=setfit")


def test_a_file_that_is_not_there_or_is_no_mapping(tmp_path):
    with pytest.raises(ConfigError, match="there is no such file"):
        load_config(tmp_path / "none.yaml")
    (tmp_path / "list.yaml").write_text("- a\n")
    with pytest.raises(ConfigError, match="expected keys such as"):
        load_config(tmp_path / "list.yaml")
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path / "bytes.yaml")


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (["yes", "n\0o"], r"task\.labels: the label 'n\\x00o' holds the character U\+0000 \(NUL\)"),
        ({"yes": "a\u202eb", "no": "c"}, r"the label word .*U\+202E \(RIGHT-TO-LEFT OVERRIDE\)"),
        (["yes", "n\u200eo"], r"the label .*U\+200E \(LEFT-TO-RIGHT MARK\)"),
        (["yes", "n\no"], r"the label 'n\\no' holds the character U\+000A \(LF\)"),
        (["yes", "n\u2028o"], r"the label .*U\+2028 \(LINE SEPARATOR\)"),
        (["yes", "n\udc80o"], r"the label .*U\+DC80 \(half a character\)"),
    ],
)
def test_a_label_that_cannot_be_shown_is_refused(labels, said):
    located = LocatedYaml({"labels": labels}, "task.yaml", {})
    with pytest.raises(ConfigError, match=said):
        build(Classification, located.values, located, ("task",))


@pytest.mark.parametrize(
    ("kind", "key"),
    [
        (Classification, "text_name"),
        (Classification, "language"),
        (SentencePair, "context_name"),
        (ExtractiveQA, "text_name"),
    ],
)
def test_so_is_a_name_that_stands_in_prompts(kind, key):
    labels = {"labels": ["a", "b"]} if "labels" in kind.model_fields else {}
    with pytest.raises(ValueError, match=rf"{key}\n.*the name .*U\+2066 \(LEFT-TO-RIGHT ISOLATE\)"):
        kind.model_validate({**labels, key: "a\u2066b"})


def test_names_of_every_script_are_fine():
    labels = ["نقد مثبت", "می\u200cخواهم", "不满", "👩\u200d🚀", "C#"]
    assert Classification.model_validate({"labels": labels}).label_names == tuple(labels)


def test_the_name_of_the_file_is_one_too(tmp_path):
    path = tmp_path / "a\u202eb.yaml"
    path.write_text(TASK, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"the task's name 'a\\u202eb' holds .*U\+202E"):
        load_config(path)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("task.prompts={1: x}", r"task\.prompts\.1"),
        ("student={name: {a: b}}", "no student is named"),
        ("student={name: transformer, model: " + "a/" * 3_000 + "}", ""),
        ('task.prompts={seed: "{{ ' + "(" * 3_000 + '"}', "this template is nested too deeply"),
        ('llm.rules=[{pattern: "a{99999999999}", answers: [x]}]', "llm: a template or pattern"),
        ("method.rounds=" + "9" * 18, ""),
    ],
)
def test_what_libraries_stumble_over_is_our_own_error_or_none(load, override, said):
    if not said:
        assert load(TASK, override)
        return
    with pytest.raises(StepsynthError, match=said):
        load(TASK, override)
