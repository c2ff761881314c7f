"""Answers in passages: their places, near misses, and candidates."""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import chain
from numbers import Integral
from typing import Any

from stepsynth._util.files import parse_json
from stepsynth._util.pretrained import digest_folder, need
from stepsynth._util.text import clean, normalise, shorten
from stepsynth.errors import ConfigError
from stepsynth.prompts import unquote
from stepsynth.records import Answers

NEAR = 90.0
"""Similarity, 0-100, from which a part of the passage stands for an answer."""

LONGEST = 1000
"""Most characters of an answer that a similar part is looked for: the time grows by the product of
the lengths of answer and passage."""

_MARKS = str.maketrans({"’": "'", "‘": "'", "“": '"', "”": '"', "–": "-", "—": "-", "\u00a0": " "})

_EDGES = " \t\n.,;:!?\"'“”‘’«»"


_SAID = re.compile(
    r"\A(?:the )?(?:correct |final )?answer(?: to (?:the|this) question)?(?: is)?\b:?", re.I
)
"""What an LLM says before an answer."""


def find_answer(passage: str, answer: str) -> Answers | None:
    """Return an answer where it stands in a passage, or None.

    If the answer is not there word for word, it is looked for with other case, quotes and spaces,
    and then as the most similar part of the passage. The result is always the passage's own
    wording, and never cuts a word or a number.
    """
    wanted = clean(answer).strip()
    bare = wanted.strip(_EDGES)
    if not bare or len(bare) > len(passage):
        return None
    if len(wanted) <= len(passage) and (span := _search(re.escape(wanted), passage)):
        return Answers((wanted,), (span[0],))
    span = _find_loosely(passage, bare) or _find_similar(passage, bare)
    if span is None:
        return None
    return Answers((passage[slice(*span)],), (span[0],), is_repaired=True)


def find_said(passage: str, said: str) -> Answers | None:
    """Return the answer that an LLM gives to a question, where it stands in the passage.

    It may stand in quotes or bold marks, after "The answer is", or before an explanation.
    """
    whole = said.strip()
    for part in dict.fromkeys((whole, whole.partition("\n")[0])):
        for answer in (part, unquote(part), unquote(_SAID.sub("", unquote(part), count=1))):
            if found := find_answer(passage, answer):
                return found
    return None


def _search(pattern: str, passage: str) -> tuple[int, int] | None:
    spans = (found.span() for found in re.finditer(pattern, passage))
    return next((span for span in spans if not _is_cut(passage, *span)), None)


def _is_cut(passage: str, start: int, end: int) -> bool:
    """Say whether a part begins or ends within a word or a number: "art" in "party"."""
    return _is_inside(passage, start) or _is_inside(passage, end)


def _is_inside(passage: str, edge: int) -> bool:
    left, right = passage[max(0, edge - 2) : edge], passage[edge : edge + 2]
    return (
        (_is_of_word(left[-1:]) and _is_of_word(right[:1]))
        or (left[-1:].isdigit() and right[:1] in (".", ",") and right[1:].isdigit())
        or (left[:-1].isdigit() and left[-1:] in (".", ",") and right[:1].isdigit())
    )


def _is_of_word(character: str) -> bool:
    # Scripts without upper case, such as Chinese, mostly write no spaces between words.
    return character.isdigit() or character.lower() != character.upper()


def _find_loosely(passage: str, answer: str) -> tuple[int, int] | None:
    words = r"\s+".join(map(re.escape, answer.translate(_MARKS).split()))
    # One character becomes one character, so that offsets stay.
    return _search(f"(?i:{words})", passage.translate(_MARKS))


def _find_similar(passage: str, answer: str) -> tuple[int, int] | None:
    from rapidfuzz import fuzz

    if not 4 <= len(answer) <= min(LONGEST, len(passage)):
        return None
    near = fuzz.partial_ratio_alignment(_lower(answer), _lower(passage), score_cutoff=NEAR)
    if near is None:
        return None
    start, end = near.dest_start, near.dest_end
    while _is_inside(passage, start):
        start -= 1
    while _is_inside(passage, end):
        end += 1
    inner = passage[start:end]
    start += len(inner) - len(inner.lstrip(_EDGES))
    end -= len(inner) - len(inner.rstrip(_EDGES))
    # Growing to whole words may have made the part say something else.
    is_near = fuzz.ratio(_lower(answer), _lower(passage[start:end])) >= NEAR
    return (start, end) if is_near and _numbers(answer) == _numbers(passage[start:end]) else None


def _lower(text: str) -> str:
    """Return the text in lower case, of the same length: "İ" alone would become two characters."""
    return "".join(low if len(low := c.lower()) == 1 else c for c in text)


def _numbers(text: str) -> list[str]:
    """Return the numbers of a text, which no near miss may change: 1981, Louis XIV, 7 billion."""
    return re.findall(r"\d+|\b[IVXLC]+\b|(?:m|b|tr)illi(?:on|ard)", text)


def read_answers(value: Any, passage: str) -> Answers | None:
    """Return the answers that a row of data gives, or None where it gives none.

    Args:
        value: `{"text": [...], "answer_start": [...]}` as in SQuAD, a list of such entries, one
            text, or a list of texts; also as JSON, since a cell of a table holds text alone.
        passage: Every answer must stand in it.

    Raises:
        ValueError: An answer is not in the passage, or the value has another form.
    """
    texts, starts = _texts_and_starts(_from_json(value, passage))
    found = [
        _place(text, start, passage)
        for text, start in zip(texts, starts, strict=True)
        if text.strip()
    ]
    if not found:
        return None
    return Answers(
        tuple(chain.from_iterable(a.texts for a in found)),
        tuple(chain.from_iterable(a.starts for a in found)),
        is_repaired=any(a.is_repaired for a in found),
    )


def _from_json(value: Any, passage: str) -> Any:
    """Return the value of a text that is JSON, and no answer; any other value as it is."""
    if not isinstance(value, str) or value.lstrip()[:1] not in ("{", "[") or value in passage:
        return value
    try:
        return parse_json(value)
    except (ValueError, RecursionError):
        return value


def _texts_and_starts(value: Any) -> tuple[list[str], list[int | None]]:
    texts: list[Any]
    starts: list[Any]
    if isinstance(value, str):
        return [value], [None]
    if isinstance(value, Mapping):
        given = value.get("text"), value.get("answer_start")
        texts = [given[0]] if isinstance(given[0], str) else _listed(given[0])
        starts = [None] * len(texts) if given[1] is None else _listed(given[1])
    else:
        entries = _listed(value)
        texts = [e.get("text") if isinstance(e, Mapping) else e for e in entries]
        starts = [e.get("answer_start") if isinstance(e, Mapping) else None for e in entries]
    are_texts = all(isinstance(text, str) for text in texts)
    if not are_texts or len(texts) != len(starts) or any(map(_is_no_offset, starts)):
        raise ValueError(
            "answers must be {text: [...], answer_start: [...]} with as many starts as texts, "
            f"got {shorten(str(value))}"
        )
    return [clean(text) for text in texts], starts


def _is_no_offset(start: object) -> bool:
    return start is not None and (not isinstance(start, Integral) or isinstance(start, bool))


def _listed(value: Any) -> list[Any]:
    if hasattr(value, "tolist"):  # NumPy arrays, from Parquet and data frames
        value = value.tolist()
    if isinstance(value, Sequence) and not isinstance(value, str):
        return list(value)
    if isinstance(value, int):
        return [value]
    raise ValueError(f"answers must be a text, a list, or as in SQuAD, got {shorten(str(value))}")


def _place(text: str, start: int | None, passage: str) -> Answers:
    """Return an answer at its offset, or at the nearest place where the text stands.

    Without an offset, that is the first place, preferably one that cuts no word.
    """

    def distance(place: int) -> int:
        is_cut = _is_cut(passage, place, place + len(text))
        return int(is_cut) if start is None else abs(place - start)

    # A lookahead finds overlapping places too.
    places = [found.start() for found in re.finditer(f"(?={re.escape(text)})", passage)]
    if places:
        near = min(places, key=distance)
        return Answers((text,), (near,), is_repaired=start not in (None, near))
    found = find_answer(passage, text)
    if found is None:
        raise ValueError(
            f"the answer {shorten(text, 50)!r} is not in its passage {shorten(passage, 60)!r}"
        )
    return found


_ANSWERED = re.compile(
    r"(?:\n|(?<=[?？؟]))\W{0,6}(?:(?:the )?(?:correct )?answer|a|antwort|réponse|respuesta|"
    r"答案|答え|回答|الإجابة|الجواب)[*_]{0,3}(?: is)?\s?[:：].*\Z",
    re.I | re.S,
)
"""An answer after a question."""
_ASKED = re.compile(r"\A[*_]{0,3}Q[*_]{0,3}\s?[:：][*_]{0,3}\s*(?=\S)")
_LAST = re.compile(r"(?<=[?？؟])[^?？؟]*\Z")
"""What stands after the last question mark."""
_MORE = re.compile(r"(?<=[?？؟])([\"”'’»」*_]{0,4})[ \t]*\n.*\Z", re.S)
"""What goes on in a new line after a question: an explanation, a note, the passage, a question."""


def take_question(text: str, answer: str) -> str:
    """Return the question that a text begins with; "": it is nothing but the answer.

    What an LLM writes after a question may give the answer away, or ask for another one.
    """
    text = unquote(_MORE.sub(r"\1", _ASKED.sub("", text), count=1))
    text = _ANSWERED.sub("", text, count=1).rstrip()
    wanted = normalise(answer)
    last = _LAST.search(text)
    if last and normalise(last[0]) == wanted:
        text = text[: last.start()]
    return "" if normalise(text) == wanted else text


def find_entities(pipeline: str, passage: str) -> list[Answers]:
    """Return the entities and noun phrases that a spaCy pipeline finds, without repetitions.

    Raises:
        ConfigError: spaCy or the pipeline is not installed.
    """
    document = _load_pipeline(pipeline, digest_folder(pipeline))(passage)
    phrases = document.noun_chunks if document.has_annotation("DEP") else ()
    found: dict[str, Answers] = {}
    for span in chain(document.ents, phrases):
        if any(c.isalnum() for c in span.text):
            found.setdefault(span.text, Answers((span.text,), (span.start_char,)))
    return sorted(found.values(), key=lambda answer: answer.starts)


@lru_cache(maxsize=2)
def _load_pipeline(name: str, _files: str | None) -> Any:
    spacy = need("spacy", "entities", "task.answers")
    try:
        return spacy.load(name)
    except OSError as error:
        raise ConfigError(
            f"task.answers: there is no spaCy pipeline {name!r}",
            hint=f"`llm` asks the LLM; else: python -m spacy download {name}",
        ) from error
