"""The torture bench: a few faults are survived, and what goes wrong is seen."""

import json
import sqlite3
import sys
from contextlib import closing

import pytest

from benchmarks.torture import checks
from benchmarks.torture.__main__ import Bench, deal, run_faults
from benchmarks.torture.faults import Kind, load_kinds
from benchmarks.torture.server import Asked, Ledger, Server

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="the bench reads /proc"),
    pytest.mark.timeout(400),
]

FEW = ("kill: seed", "kill: writing", "Ctrl-C: asking", "net: connections cut", "caps: requests")


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    with Server() as server:
        yield Bench(tmp_path_factory.mktemp("torture"), server, tmp_path_factory.mktemp("kept"))


def test_a_few_faults_are_survived(bench):
    kinds = load_kinds()
    results = run_faults(
        bench, [kinds[name] for name in FEW], 7, faults=len(FEW), minutes=5, jobs=2
    )
    assert sorted(result.kind for result in results) == sorted(FEW)
    assert [result.problems for result in results] == [[]] * len(FEW)
    assert any(code != 0 for result in results for code in result.codes)


def lose_answers(e):
    """Lose some of the answers without a word."""
    e.run(0)
    with closing(sqlite3.connect(e.out / "requests.sqlite")) as store, store:
        store.execute("DELETE FROM completions WHERE rowid % 2")
    e.finish()


def change_rows(e):
    """Change a row that is done."""
    e.run(0)
    path = e.out / "dataset.jsonl"
    path.write_text(path.read_text().replace("a", "b", 1))
    e.check(e.out)


def leave_things(e):
    """End with a code that is none of the fault's, and leave a key, a file and a gap."""
    e.run(0, sets={"method.rounds": "many"})
    e.run(0)
    (e.out / "report.html").unlink()
    (e.out / ".half").write_text(f"as {e.ledger.key}")
    e.check(e.out)


@pytest.mark.parametrize(
    ("do", "found"),
    [
        (lose_answers, ["requests were sent again whose answer was there"]),
        (change_rows, ["other rows than undisturbed in dataset.jsonl"]),
        (
            leave_things,
            [
                "exit code 2, expected one of [0]",
                "missing: report.html",
                "left behind: .half",
                "the key is in ['out/.half']",
            ],
        ),
    ],
)
def test_what_goes_wrong_is_seen_and_kept(bench, do, found):
    problems = bench.do(Kind(do.__name__, do), 0).problems
    assert (bench.keep / f"{do.__name__.replace('_', '-')}-0/out/dataset.jsonl").exists()
    assert len(problems) == len(found)
    for problem, said in zip(problems, found, strict=True):
        assert said in problem


def asked(digest, arrived, answered):
    return Asked(digest, "seed", "Write.", 0, "key", arrived, answered)


def test_only_what_was_on_its_way_may_be_asked_again():
    ledger = Ledger("key", [asked("a", 1, 2), asked("b", 8, 9.5), asked("c", 9, None)])
    ledger.asked += [asked(digest, 12, 13) for digest in "bc"]
    assert checks.check_repeats(ledger, [(10, 1.0)]) == []
    assert "1 requests were sent again" in checks.check_repeats(ledger, [(10, 0.2)])[0]
    assert "1 requests were sent again" in checks.check_repeats(ledger, [])[0]
    assert checks.count_lost(ledger, [(10, 1.0)]) == (2, 0)
    ledger.asked.append(asked("a", 14, 15))
    assert "1 requests were sent again" in checks.check_repeats(ledger, [(10, 1.0)])[0]


def test_a_traceback_is_found_but_not_that_of_an_orphan_that_starts():
    start = 'Traceback (most recent call last):\n  File "<string>", line 1, in <module>\n  File '
    orphan = f'{start}"/lib/multiprocessing/spawn.py", line 122, in spawn_main\nEOFError: no\n'
    ours = f'{start}"/lib/stepsynth/api.py", line 1, in run\nKeyError: 1\n'
    assert checks.find_traceback(f"all is well\n{orphan}", is_orphan=True) == ""
    assert checks.find_traceback(orphan, is_orphan=False) == orphan
    assert checks.find_traceback(orphan + ours, is_orphan=True) == ours
    ignored = "Exception ignored in: <function cb>\n"
    assert checks.find_traceback(ignored, is_orphan=True) == ignored


def test_every_kind_is_dealt_as_often_as_it_weighs():
    kinds = list(load_kinds().values())
    deck = deal(kinds, 3)
    assert [deck.count(kind) for kind in kinds] == [kind.weight for kind in kinds]
    assert deal(kinds, 3) == deck != deal(kinds, 4)


def test_the_server_answers_each_key_by_itself(tmp_path):
    import urllib.request

    def ask(key):
        body = json.dumps({"messages": [{"role": "user", "content": "Write."}], "seed": 1})
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        url = f"{server.url}/chat/completions"
        request = urllib.request.Request(url, body.encode(), headers)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)["choices"][0]["message"]["content"]

    with Server() as server:
        first, second = server.open("first"), server.open("second")
        assert ask("first") == ask("second") == ask("second")
        assert ([a.attempt for a in first.asked], [a.attempt for a in second.asked]) == (
            [0],
            [0, 1],
        )
        server.close(first)
        with pytest.raises(urllib.error.HTTPError, match="401"):
            ask("first")
