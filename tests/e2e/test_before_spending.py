"""`plan`, `preview` and the ping of `check`, and the plan beside what the run used."""

import json
import re

import pytest

from stepsynth.taskfile.config import load_config, recipe_names
from tests.e2e.cli import in_json, stepsynth, summary_of
from tests.rehearsed import method_kinds, write_kind, write_recipe
from tests.scripted import serve_rules
from tests.stub_server import StubServer, completion, failure

SECRET = "sk-never-to-be-seen-0123456789"


def command(*args: object):
    """Run a command in this process, on a wide terminal."""
    return stepsynth(*args, COLUMNS="200")


def answer(_number, body):
    """Answer any prompt of any recipe."""
    prompt, seed = body["messages"][0]["content"], body.get("seed", 0)
    said = {"用中文": "好茶", "日本語": "お茶です", "العربية": "شاي جيد جدا"}
    for name, text in said.items():
        if name in prompt:
            return completion(f"{text} {seed}")
    if "numbered list" in prompt:
        return completion("\n".join(f"{i}. reason {i} of {seed}" for i in range(1, 21)))
    return completion(f"text for seed {seed}, a ripe one?")


def fruit_answer(number, body):
    """Answer by the rules of fruit, and whatever they do not know with a question."""
    status, headers, content = serve_rules(number, body)
    return (status, headers, content) if status == 200 else completion("What is said of it?")


@pytest.fixture
def any_server():
    with StubServer(answer) as running:
        yield running


@pytest.fixture
def fruit_server():
    with StubServer(fruit_answer) as running:
        yield running


def test_plan_needs_no_key_no_network_and_no_llm(tmp_path):
    task = write_kind(tmp_path, "classification")  # its URL leads nowhere
    found = in_json("plan", task, "--set", "llm.price={prompt: 1, completion: 2}")
    assert {p["phase"] for p in found["phases"]} == {"rationale", "seed", "extrapolate"}
    assert found["total"]["usd"]["low"] < found["total"]["usd"]["high"]
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "corpus.jsonl",
        "fruit.yaml",
        "gold.jsonl",
        "texts.jsonl",
    ]
    shown = stepsynth("plan", task, "--set", "limits.requests=10")
    assert "Nothing was sent." in shown.stdout
    assert "limits.requests 10 would stop it in phase seed" in shown.stdout
    assert "not known" in shown.stdout  # no price is set


@pytest.mark.parametrize("recipe", recipe_names())
def test_a_preview_of_every_recipe_shows_prompts_answers_and_rows(recipe, any_server, tmp_path):
    task = write_recipe(tmp_path, recipe, any_server.url)
    found = in_json("preview", task, "-n", 2, "--out", tmp_path / "run")
    config = load_config(task)
    kinds = ["seed", "extrapolate"]
    assert list(found["kinds"]) == (kinds if config.task.has_context else ["rationale", *kinds])
    for kind in kinds:
        assert len(found["kinds"][kind]) == 2
        for shown in found["kinds"][kind]:
            assert shown["row"]["text"] == shown["answer"]
            assert shown["prompt"] in [b["messages"][0]["content"] for b in any_server.bodies]
    assert found["llm"]["requests"] == len(any_server.bodies)


@pytest.mark.parametrize(("kind", "name"), method_kinds())
def test_a_preview_of_every_method_sends_real_prompts_alone(kind, name, fruit_server, tmp_path):
    task = write_kind(tmp_path, kind, fruit_server.url)
    found = in_json("preview", task, "-n", 3, "--set", f"method={name}", "--out", tmp_path)
    assert found["unshown"] == []
    rows = [shown for several in found["kinds"].values() for shown in several]
    assert rows
    for shown in rows:
        assert shown["row"] or shown["rejected"], shown
        assert shown["failed"] is None
    sent = [body["messages"][0]["content"] for body in fruit_server.bodies]
    assert not [prompt for prompt in sent if re.search("qzx|zqk", prompt)]
    assert len(sent) == len(rows) <= 60


@pytest.mark.parametrize("number", [1, 2, 7])
def test_a_preview_asks_for_as_many_of_each_kind_as_it_is_told(number, fruit_server, tmp_path):
    task = write_kind(tmp_path, "classification", fruit_server.url)
    done = command("preview", task, "-n", number, "--set", "method=s3", "--out", tmp_path, "--json")
    kinds = summary_of(done)["kinds"]
    # There are two labels, and so two lists of reasons; short ones are asked for again.
    lists = {shown["prompt"] for shown in kinds.pop("rationale")}
    assert len(lists) == min(number, 2)
    assert {k: len(several) for k, several in kinds.items()} == {
        "seed": number,
        "extrapolate": number,
    }


def test_a_run_uses_what_its_preview_has_paid_for(fruit_server, tmp_path):
    task = write_kind(tmp_path, "classification", fruit_server.url)
    options = ("--set", "method={name: s3, seed_size: 30}", "--out", tmp_path / "run")
    kinds = in_json("preview", task, "-n", 5, *options)["kinds"]
    again = command("preview", task, "-n", 5, *options, "--json")
    assert summary_of(again)["llm"]["requests"] == 0
    paid = len(fruit_server.bodies)
    from_store = in_json("run", task, *options)["llm"]["from_store"]
    # Which errors there are, the real student says.
    assert len(kinds["rationale"]) + len(kinds["seed"]) <= from_store <= paid
    asked = [(b["messages"][0]["content"], b["seed"]) for b in fruit_server.bodies]
    assert len(asked) == len(set(asked))


def test_a_list_that_was_cut_off_is_shown_as_the_run_takes_it(tmp_path):
    listed = completion("1. It is ripe.\n2. It is sweet.\n3. It was gro", finish="length")
    with StubServer(lambda *_: listed) as server:
        task = write_kind(tmp_path, "classification", server.url)
        options = ("--set", "method={name: s3, seed_size: 2, rounds: 0}", "--out", tmp_path / "r")
        (shown, *_) = in_json("preview", task, "-n", 1, *options)["kinds"]["rationale"]
    assert shown["row"] == ["It is ripe.", "It is sweet."]
    assert not shown["rejected"]


def test_proposed_answers_are_shown_as_they_stand_in_their_passage(tmp_path):
    def answer(_, body):
        prompt = body["messages"][0]["content"]
        if not prompt.endswith("one part a line."):
            return completion("Which one?")
        word = prompt.removeprefix("Passage: ").split()[1]
        return completion(f"1. Name: {word}\n2. Atlantis\n3. numbers")

    with StubServer(answer) as server:
        task = write_kind(tmp_path, "extractive_qa", server.url)
        options = ("--set", "method={name: zerogen, seed_size: 2}", "--out", tmp_path / "r")
        (shown, *_) = in_json("preview", task, "-n", 1, *options)["kinds"]["answers"]
    assert shown["row"] == [shown["prompt"].removeprefix("Passage: ").split()[1]]


def test_rejects_and_failures_are_shown_with_their_causes(tmp_path):
    def serve(number, _body):
        if number % 3 == 0:
            return completion("I'm sorry, but I cannot help with that.")
        return (
            failure(400, "[red]no[/red] \x1b[2J") if number % 3 == 1 else completion("[b]ripe[/b]")
        )

    with StubServer(serve) as server:
        task = write_kind(tmp_path, "classification", server.url)
        options = ("--set", "method=zerogen", "--set", "llm.concurrency=1", "--out", tmp_path / "r")
        done = command("preview", task, "-n", 6, *options)
        assert done.returncode == 0, done.stderr
    assert "refusal" in done.stdout
    assert "[red]no[/red]" in done.stdout
    assert "[b]ripe[/b]" in done.stdout
    assert "\x1b" not in done.stdout
    assert "4 requests sent" not in done.stdout


def test_a_preview_that_gets_no_answer_ends_as_the_provider_does(tmp_path):
    with StubServer(lambda *_: failure(400, "no such thing")) as server:
        task = write_kind(tmp_path, "classification", server.url)
        done = command("preview", task, "-n", 2, "--set", "method=zerogen", "--out", tmp_path / "r")
    assert done.returncode == 4
    assert "no such thing" in done.stdout


def test_a_preview_keeps_the_limits(fruit_server, tmp_path):
    task = write_kind(tmp_path, "classification", fruit_server.url)
    options = ("--set", "method=zerogen", "--set", "limits.requests=2", "--json")
    done = command("preview", task, "-n", 5, "--out", tmp_path / "run", *options)
    assert done.returncode == 3, done.stderr
    assert len(fruit_server.bodies) == 2
    assert summary_of(done)["exit_code"] == 3


def test_the_plan_of_zerogen_is_exact_and_the_report_says_so(fruit_server, tmp_path):
    task = write_kind(tmp_path, "classification", fruit_server.url)
    price = "llm.price={prompt: 1, completion: 2}"
    options = ("--set", "method={name: zerogen, seed_size: 40}", "--set", price)
    planned = summary_of(command("plan", task, *options, "--json"))
    folder = tmp_path / "run"
    assert command("run", task, *options, "--out", folder).returncode == 0
    assert len(fruit_server.bodies) == 40
    assert planned["phases"][0]["requests"]["expected"] == 40
    written = json.loads((folder / "plan.json").read_text())
    assert written["planned"]["total"]["requests"]["expected"] == 40
    assert written["used"]["phases"][0]["requests"] == 40
    assert written["used"]["total"]["usd"] == pytest.approx(40 * (10 + 2 * 5) / 1e6)
    page = (folder / "report.html").read_text()
    section = page[page.index("What was planned") :].split("</section>")[0]
    cells = [re.sub("<[^>]+>", "", cell) for cell in re.findall(r"<td.*?</td>", section)]
    assert cells[1:5] == ["requests", "40 (40 – 59)", "40", "+0 %"]
    # The server says 10 prompt tokens each, whatever is asked.
    tokens = written["planned"]["total"]["prompt_tokens"]["expected"]
    assert cells[9] == f"{100 * (tokens - 400) / 400:+.0f} %"


def test_each_of_two_endpoints_of_one_model_is_counted_at_its_own_price(fruit_server, tmp_path):
    url = fruit_server.url
    task = write_kind(tmp_path, "classification", url)
    cheap = {"price": {"prompt": 1, "completion": 2}}
    dear = {"model": "m", "base_url": f"{url}?dear=1", "price": {"prompt": 100, "completion": 200}}
    method = "method={name: zerogen, seed_size: 40}"
    phases = f"llm.phases={json.dumps({'seed': [cheap, dear]})}"
    folder = tmp_path / "run"
    done = command("run", task, "--set", method, "--set", phases, "--out", folder, "--json")
    assert done.returncode == 0, done.stderr
    used = json.loads((folder / "plan.json").read_text())["used"]
    assert used["total"]["usd"] == pytest.approx(20 * (10 + 2 * 5) * (1 + 100) / 1e6)
    assert summary_of(done)["llm"]["usd"] == pytest.approx(used["total"]["usd"])


def test_a_run_that_goes_on_is_compared_with_all_that_it_used(fruit_server, tmp_path):
    task = write_kind(tmp_path, "classification", fruit_server.url)
    options = ("--set", "method={name: s3, seed_size: 30}", "--out", tmp_path / "run")
    stopped = command("run", task, *options, "--set", "limits.requests=20")
    assert stopped.returncode == 3
    part = json.loads((tmp_path / "run/plan.json").read_text())
    assert part["planned"]["limits"] == ["limits.requests 20 would stop it in phase seed"]
    assert command("run", task, *options).returncode == 0
    whole = json.loads((tmp_path / "run/plan.json").read_text())
    used, planned = whole["used"], whole["planned"]
    assert used["from_store"] == 20
    assert used["total"]["requests"] == len(fruit_server.bodies)
    found = {phase["phase"]: phase["requests"] for phase in used["phases"]}
    for phase in planned["phases"]:
        if phase["phase"] == "rationale":
            assert phase["requests"]["expected"] == 2  # the server lists three, so asks go on
            continue
        low, high = phase["requests"]["low"], phase["requests"]["high"]
        assert low <= found[phase["phase"]] <= high
    assert "20 completions that the store had already" in (tmp_path / "run/report.html").read_text()


def test_a_ping_says_that_the_llm_answers_and_each_phase_has_its_own(any_server, tmp_path):
    task = write_kind(tmp_path, "classification", any_server.url)
    phases = "llm.phases={extrapolate: {model: strong}, seed: [{model: m}, {model: other}]}"
    found = in_json("check", task, "--set", phases)
    assert found["ok"] is True
    assert {model: ping["ok"] for model, ping in found["ping"].items()} == {
        "m": True,
        "strong": True,
        "other": True,
    }
    # One token, and then, where the endpoint does not list its models, whether max_tokens fits.
    asked = [(body["model"], body["max_tokens"]) for body in any_server.bodies]
    assert asked == [(model, n) for model in ("m", "strong", "other") for n in (1, 1024)]
    assert command("check", task, "--no-ping").returncode == 0
    assert len(any_server.bodies) == 6


def has_a_small_window(_number, body):
    if body["max_tokens"] > 500:
        return failure(400, "maximum context length is 500 tokens, however you requested 1104")
    return completion("yes")


def test_check_says_that_max_tokens_does_not_fit(tmp_path):
    with StubServer(has_a_small_window) as server:
        task = write_kind(tmp_path, "classification", server.url)
        done = command("check", task, "--json")
        assert done.returncode == 4
        found = summary_of(done)
        assert "refuses llm.max_tokens 1024" in found["error"]
        assert "maximum context length is 500 tokens" in found["error"]
        assert "lower llm.max_tokens" in found["hint"]
        assert found["ping"]["m"]["ok"] is False
        done = command("check", task, "--set", "llm.max_tokens=400")
        assert done.returncode == 0, done.stderr
        # Of two kinds of prompt on one endpoint, that of the longer answers is tried.
        phases = "llm.phases={seed: {max_tokens: 900}}"
        assert (
            command("check", task, "--set", "llm.max_tokens=400", "--set", phases).returncode == 4
        )


def test_check_says_how_long_prompts_are_and_what_will_go_wrong(tmp_path):
    rows = [("long " * 3_000, "0"), *((f"note {i}", str(i % 2)) for i in range(40)), ("odd", "2")]
    lines = "".join(json.dumps({"text": t, "label": label}) + "\n" for t, label in rows)
    (tmp_path / "gold.jsonl").write_text(lines)
    (tmp_path / "task.yaml").write_text(
        "task: {labels: [0, 1, 2], text_name: note}\n"
        "data: {gold: gold.jsonl, select: gold.jsonl, test: test.jsonl}\n"
        "llm: {preset: ollama, model: m, price: {prompt: 1, completion: 2}}\n"
    )
    (tmp_path / "test.jsonl").write_text(lines.replace("n", "m").replace("odd", "even"))
    sets = ("--set", "data.paper_splits=true", "--set", "data.select=null")
    found = in_json("check", tmp_path / "task.yaml", "--no-ping", *sets)
    assert found["prompt_tokens"]["most"] > 3_000 > 100 > found["prompt_tokens"]["median"]
    assert found["prompt_tokens"]["usd"] == found["prompt_tokens"]["total"] / 1e6
    told = " ".join(found["warnings"])
    for part in (
        "fewer than 5 rows of the label '2' (1)",
        "no word for the label '0', '1', '2'",
        "1 of 42 rows of mine make prompts of more than 2,000 tokens",
    ):
        assert part in told
    shown = command("check", tmp_path / "task.yaml", "--no-ping", *sets).stdout
    assert "A prompt made of a row of mine has about" in shown


def wants_key_and_model(_number, body):
    if body["model"] != "m":
        return failure(404, f"the model {body['model']} does not exist")
    return failure(401, "invalid api key")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (["llm.model=m"], "STEPSYNTH_TEST_KEY"),
        (["llm.model=nope"], "does not exist"),
        (["llm.base_url=http://127.0.0.1:9/v1"], "cannot be reached"),
    ],
)
def test_a_wrong_key_model_or_url_is_told_by_check(settings, said, tmp_path):
    with StubServer(wants_key_and_model) as server:
        task = write_kind(tmp_path, "classification", server.url)
        sets = [
            part for s in ["llm.api_key_env=STEPSYNTH_TEST_KEY", *settings] for part in ("--set", s)
        ]
        done = stepsynth("check", task, *sets, "--json", STEPSYNTH_TEST_KEY=SECRET)
        assert len(server.bodies) <= 1
    assert done.returncode == 4, done.stderr
    assert said in done.stderr
    assert SECRET not in done.stdout + done.stderr
    found = summary_of(done)
    assert found["ok"] is False
    assert found["splits"]["mine"]["rows"] == 48  # what the data shows is there all the same
    assert found["exit_code"] == 4


def test_a_ping_does_not_wait_for_a_server_that_hangs(tmp_path, monkeypatch):
    monkeypatch.setattr("stepsynth.llm.core.backend.Backend.ping_s", 0.2)
    with StubServer(answer, delay_s=3) as server:
        task = write_kind(tmp_path, "classification", server.url)
        done = command("check", task, "--json")
    assert done.returncode == 4
    found = summary_of(done)
    assert "took a request and gave no answer in 0.2 s" in found["error"]
    assert "may be loading the model" in found["hint"]
    assert "llm.timeout_s, 120 s" in found["hint"]


@pytest.mark.parametrize(
    ("server", "settings", "hint"),
    [
        (StubServer(lambda *_: failure(503, "Loading model")), [], "may be loading the model"),
        (StubServer(answer, delay_s=1), ["--set", "llm.timeout_s=0.05"], "raise llm.timeout_s"),
        (StubServer(lambda *_: failure(400, "no such field")), [], "check llm.model"),
    ],
)
def test_a_ping_that_fails_says_what_to_do(server, settings, hint, tmp_path):
    with server:
        task = write_kind(tmp_path, "classification", server.url)
        done = command("check", task, *settings, "--json")
    assert done.returncode == 4
    assert hint in summary_of(done)["hint"]


def test_check_tells_of_the_data_before_it_tells_of_the_llm(tmp_path):
    task = write_kind(tmp_path, "classification")
    unset = ("--set", "llm.model=YOUR_MODEL")
    done = stepsynth("check", task, *unset)
    assert done.returncode == 2
    assert "rows" in done.stdout  # the table
    assert "YOUR_MODEL" in done.stderr
    (tmp_path / "gold.jsonl").write_text('{"text": "x", "label": "zebra"}\n')
    done = stepsynth("check", task, *unset)
    assert done.returncode == 2
    assert "zebra" in done.stderr
    assert "YOUR_MODEL" in done.stderr


def test_check_says_which_key_is_missing_for_a_provider_and_wants_none_for_a_local_server(tmp_path):
    for llm, is_missing in (
        ("{preset: openai, model: m}", True),
        ("{preset: vllm, model: m}", False),
    ):
        task = tmp_path / "task.yaml"
        rows = "".join(
            f'{{"text": "text {i} of a kind", "label": "{"ab"[i % 2]}"}}\n' for i in range(40)
        )
        (tmp_path / "gold.jsonl").write_text(rows)
        task.write_text(
            "task: {kind: classification, text_name: note, labels: [a, b]}\n"
            f"data: {{gold: gold.jsonl}}\nllm: {llm}\n"
        )
        done = command("check", task, "--no-ping")
        assert done.returncode == 0
        assert ("OPENAI_API_KEY is not set" in done.stdout + done.stderr) == is_missing
