"""Hostile answers: huge, meaningless, truncated, mislabelled, or with the user's key in them."""

import gzip
import json
import zlib
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from benchmarks.torture.episode import Episode
from benchmarks.torture.faults import fault
from benchmarks.torture.server import Asked, Reply, as_usual, http

SHARE = 0.15
MOST_MB = 1500.0
"""Most memory of a run; a run of a scene takes about 300 MB."""
POISON = "poisoned text that nobody finished"

Change = Callable[[Asked, dict[str, Any]], Reply | None]


def as_reply(answer: Any, *, is_answer: bool = True) -> Reply:
    """Return the reply that carries an answer."""
    return Reply(http(200, json.dumps(answer, ensure_ascii=False).encode()), is_answer=is_answer)


def _once(change: Change) -> Change:
    """Change some first answers, so that a retry helps."""
    return lambda asked, answer: (
        change(asked, answer) if asked.is_hit(SHARE) and not asked.attempt else None
    )


def _always(change: Change) -> Change:
    return lambda asked, answer: change(asked, answer) if asked.is_hit(SHARE) else None


def _run(e: Episode, change: Change, *, same: bool) -> None:
    """Run against changed answers to the end."""
    e.ledger.fault = change
    e.has_same_bytes = same
    e.sets["llm.patience_s"] = 5
    child = e.start()
    if e.end(child, 0, 4, 5) == 4:  # a provider with only bad answers is given up
        e.ledger.fault = as_usual
    if child.peak_mb > MOST_MB:
        e.problems.append(f"it took {child.peak_mb:.0f} MB")
    e.finish()
    for path in e.out.rglob("examples.jsonl"):
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        if bad := [row["text"] for row in rows if POISON in row["text"]]:
            e.problems.append(f"an unfinished text became a row: {bad[0][:80]!r}")
        if long := [row["text"] for row in rows if len(row["text"]) > 100_000]:
            e.problems.append(f"a text of {len(long[0])} characters became a row")


@fault("answer: wrong usage", weight=3)
def wrong_usage(e: Episode) -> None:
    """Report impossible numbers of tokens."""
    odd: Any = e.rng.choice([-5, 1.5, 2**63, 2**70, 0, "many", None, float("nan"), [1], True])

    def change(_asked: Asked, answer: dict[str, Any]) -> Reply:
        usage = dict.fromkeys(("prompt_tokens", "completion_tokens", "total_tokens"), odd)
        return as_reply({**answer, "usage": odd if e.rng.random() < 0.1 else usage})

    _run(e, _always(change), same=True)


@fault("answer: an error in a 200", weight=2)
def error_in_200(e: Episode) -> None:
    """Send errors with the status of success."""
    body = e.rng.choice(
        [
            {"error": {"message": "the model is overloaded", "code": 503}},
            {"error": "overloaded"},
            {"choices": None, "error": {"message": "upstream failed"}},
            {"choices": None},
            {"choices": []},
            {"choices": [{}]},
            {"choices": [None]},
            {"choices": [{"message": None, "finish_reason": "stop"}]},
            [],
            None,
            "text",
        ]
    )
    _run(e, _once(lambda _asked, _answer: as_reply(body, is_answer=False)), same=True)


@fault("answer: no JSON", weight=2)
def no_json(e: Episode) -> None:
    """Send bodies that are no valid JSON answer."""
    bodies = [b"", b"{", b"\xff\xfe\x00", b"[" * 100_000, b"<html>busy</html>", b"null\n" * 3]
    reply = Reply(http(200, e.rng.choice(bodies)))
    _run(e, _once(lambda _asked, _answer: reply), same=True)


@fault("answer: odd finish", weight=3)
def odd_finish(e: Episode) -> None:
    """Give a finish reason other than "stop": such a text becomes no row."""
    reason = e.rng.choice(
        ["error", "content_filter", "max_tokens", "MAX_TOKENS", "model_length", "abort", "length"]
    )

    def change(_asked: Asked, answer: dict[str, Any]) -> Reply:
        answer["choices"][0]["finish_reason"] = reason
        answer["choices"][0]["message"]["content"] = POISON
        return as_reply(answer, is_answer=False)

    _run(e, _always(change), same=False)


@fault("answer: white space", weight=2)
def white_space(e: Episode) -> None:
    """Send a million blanks, alone or around a text."""
    blanks = e.rng.choice([" ", "\n", "\t", "\r\n", "\u00a0", "\u2028", " \n"]) * 1_000_000

    def change(_asked: Asked, answer: dict[str, Any]) -> Reply:
        message = answer["choices"][0]["message"]
        before = message["content"] if e.rng.random() < 0.5 else ""
        message["content"] = before + blanks + (message["content"] if e.rng.random() < 0.5 else "")
        return as_reply(answer, is_answer=bool(message["content"].strip()))

    _run(e, _always(change), same=False)


@fault("answer: huge", weight=1)
def huge(e: Episode) -> None:
    """Send answers of a hundred megabytes, plain or compressed."""
    size = 100_000_000
    sign = e.rng.choice(["x", "x ", "\n"])
    body = json.dumps(
        {"choices": [{"message": {"content": sign * (size // len(sign))}, "finish_reason": "stop"}]}
    ).encode()
    reply = http(200, body)
    if e.rng.random() < 0.5:
        reply = http(200, gzip.compress(body, 1), Content_Encoding="gzip")
    hits: set[str] = set()

    def change(asked: Asked, _answer: dict[str, Any]) -> Reply | None:
        if len(hits) < 3:
            hits.add(asked.digest)
        return Reply(reply) if asked.digest in hits else None

    _run(e, change, same=False)


@fault("answer: bomb", weight=1)
def bomb(e: Episode) -> None:
    """Send a megabyte that inflates to a gigabyte."""
    reply = Reply(http(200, _pack_zeros(), Content_Encoding="gzip"))
    hits: set[str] = set()

    def change(asked: Asked, _answer: dict[str, Any]) -> Reply | None:
        if len(hits) < 2:
            hits.add(asked.digest)
        return reply if asked.digest in hits else None

    _run(e, change, same=False)


@lru_cache
def _pack_zeros() -> bytes:
    packer = zlib.compressobj(9, wbits=31)
    part = bytes(1 << 20)
    return b"".join([*(packer.compress(part) for _ in range(1 << 10)), packer.flush()])


@fault("answer: a stream", weight=1)
def stream(e: Episode) -> None:
    """Send a stream of events although none was requested: it is read all the same."""

    def change(_asked: Asked, answer: dict[str, Any]) -> Reply:
        text = answer["choices"][0]["message"]["content"]
        parts = [text[i : i + 7] for i in range(0, len(text), 7)]
        chunks = [{"choices": [{"index": 0, "delta": {"content": part}}]} for part in parts]
        chunks += [
            {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
            {"choices": [], "usage": answer["usage"]},
        ]
        lines = [f"data: {json.dumps(chunk)}\n\n" for chunk in chunks]
        body = "".join([*lines, "data: [DONE]\n\n"]).encode()
        data = http(200, body).replace(b"application/json", b"text/event-stream")
        return Reply(data, is_answer=True)

    _run(e, _always(change), same=True)


@fault("answer: our key in it", weight=2)
def echoed_key(e: Episode) -> None:
    """Repeat the user's key in texts, errors and refusals: it must not be on disk."""
    where = e.rng.choice(["text", "error", "refusal", "no JSON"])

    def change(asked: Asked, answer: dict[str, Any]) -> Reply | None:
        said = f"you sent Authorization: Bearer {asked.key} and that is no good"
        if where == "text":
            answer["choices"][0]["message"]["content"] += f" ({said})"
            return as_reply(answer)
        if where == "error":
            return Reply(http(500, json.dumps({"error": {"message": said}}).encode()))
        if where == "refusal":
            return Reply(http(400, json.dumps({"error": {"message": said}}).encode()))
        return Reply(http(200, said.encode()))

    e.sets["llm.max_attempts"] = 2
    if where in ("error", "no JSON"):  # a retry helps
        _run(e, _once(change), same=True)
    else:
        _run(e, _always(change), same=False)


@fault("answer: odd text", weight=2)
def odd_text(e: Episode) -> None:
    """Send texts with characters that break files, terminals and pages."""
    odd = e.rng.choice(
        [
            "\x00",
            "\x1b[2J",
            "\ud800",
            "\u2028",
            "</script><b>",
            "\u202e",
            "😀" * 100,
            "\ufeff",
            "\r",
        ]
    )

    def change(_asked: Asked, answer: dict[str, Any]) -> Reply:
        answer["choices"][0]["message"]["content"] += f" {odd} end"
        # Escaped by JSON, since half a character has no UTF-8 encoding.
        return Reply(http(200, json.dumps(answer).encode()), is_answer=True)

    _run(e, _always(change), same=False)
