"""Rules of a scripted LLM that answer every prompt of every method, and a server that follows them.

The task is fruit: an "apple" is crisp, red or round, a "pear" soft, green or long.
"""

import re
from itertools import product
from typing import Any

from stepsynth.llm.backends.scripted import Scripted
from tests.stub_server import Answer, completion, failure

WORDS = {"apple": ("crisp", "red", "round"), "pear": ("soft", "green", "long")}
PLACES = [f"{kind} {i}" for kind in ("market", "orchard", "kitchen") for i in range(40)]


def notes(fruit: str) -> list[str]:
    """Return texts that a reader would know the label of, without the label's word."""
    return [f"From {p}: it is {w}, and sweet" for p, w in product(PLACES, WORDS[fruit])]


def listed(*items: str) -> list[str]:
    """Return one answer: a numbered list."""
    return ["\n".join(f"{i}. {item}" for i, item in enumerate(items, 1))]


RULES: list[dict[str, Any]] = [
    {
        "pattern": r"List \d+ different short (?:reasons|examples)",
        "answers": listed("its skin", "its shape", "taste"),
    },
    {"pattern": r"(?s)List \d+ .*domains", "answers": listed("markets", "orchards")},
    {"pattern": r"Write \d+ different", "answers": listed(*PLACES[:20])},
    {"pattern": r"List \d+ different examples", "answers": listed(*PLACES[20:40])},
    {
        "pattern": "In what can they differ",
        "answers": listed("style: shared", "subtopic: by label"),
    },
    {"pattern": r"List \d+ diverse examples", "answers": listed("plain", "lively", "short")},
    {"pattern": "Which .* of them are the most similar", "answers": listed("pear")},
    {"pattern": "Could it just as well", "answers": ["no"]},
    # A judge, or the LLM as a classifier: by the words of the text, not of examples before it.
    *(
        {
            "pattern": rf'(?s)\b(?:{"|".join(words)})\b(?!.*Here is a ).*\{{"label": "\.\.\."\}}',
            "answers": [f'{{"label": "{fruit}"}}'],
        }
        for fruit, words in WORDS.items()
    ),
    {"pattern": r'\{"label": "\.\.\."\}', "answers": ['{"label": "apple"}']},
]
for fruit in WORDS:
    asked = rf"(?s).*(?:Write one|Write another|as one) [^\n]*that is {fruit}\b"
    RULES += [
        {
            "pattern": asked + r'.*\{"text": "\.\.\."\}',
            "answers": [f'{{"text": "{note}"}}' for note in notes(fruit)],
        },
        {"pattern": asked, "answers": notes(fruit)},
    ]
RULES += [
    {"pattern": r"List \d+ .*answer", "answers": listed("Rome", "Oslo", "Ann")},
    {"pattern": r'whose answer is "([^"]+)"', "answers": [r"What is said of \1 in this?"]},
    {"pattern": r"whose answer is", "answers": ["What is said here?"]},
    {"pattern": r'\{"answer": "\.\.\."\}', "answers": ['{"answer": "Rome"}']},
]


def serve_rules(_number: int, body: dict[str, Any]) -> Answer:
    """Answer a request by the rules; the request's seed draws."""
    prompt = body["messages"][-1]["content"]
    text = Scripted.model_validate({"rules": RULES}).answer(prompt, int(body.get("seed", 0)))
    if text is None:
        return failure(400, f"no rule matches: {re.sub(chr(10), ' / ', prompt)[:200]}")
    return completion(text)
