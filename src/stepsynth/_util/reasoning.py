"""Removal of reasoning, channels and chat markers from around an answer.

A server that knows its model removes these. Others pass them on as text, in a form that differs by
model. All searches here are for fixed strings, so time is linear in the text.
"""

import re
from dataclasses import dataclass

# Reasoning before an answer.
_THOUGHTS = (
    *(
        (f"<{space}{name}>", f"</{space}{name}>")
        for space in ("", "seed:", "mm:")
        for name in ("think", "thinking", "thought", "thoughts", "reasoning")
    ),
    ("[THINK]", "[/THINK]"),
    ("◁think▷", "◁/think▷"),
    ("<|begin_of_thought|>", "<|end_of_thought|>"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
    ("<unused94>", "<unused95>"),
)

# OpenAI's harmony: messages in channels, of which only "final" is for the reader.
_CHANNEL, _MESSAGE, _FINAL = "<|channel|>", "<|message|>", "<|channel|>final"
_BARE_FINAL = "assistantfinal"

# Markers that open the answer's turn, and those of its end or of another turn.
_OPENINGS = (
    *("<s>", "<bos>", "<|begin_of_text|>", "<|startoftext|>", "<｜begin▁of▁sentence｜>"),
    *("<|im_start|>assistant", "<start_of_turn>model", "<|start|>assistant", "<|assistant|>"),
    *("<|start_header_id|>assistant<|end_header_id|>", "<|im_start|>", "<|begin_of_solution|>"),
    *("<|START_RESPONSE|>", "<｜Assistant｜>", "<|CHATBOT_TOKEN|>"),
)
_ENDS = (
    *("<|im_end|>", "<|im_start|>", "<|eot_id|>", "<|eom_id|>", "<|start_header_id|>"),
    *("<|end|>", "<|return|>", "<|start|>", "<|endoftext|>", "<|end_of_text|>", "<|endofturn|>"),
    *("<|end_of_turn|>", "<end_of_turn>", "<start_of_turn>", "<eos>", "<|EOT|>", "<|user|>"),
    *("<|assistant|>", "<|system|>", "<|end_of_solution|>", "<|END_RESPONSE|>", "[/INST]"),
    *("[INST]", "<｜end▁of▁sentence｜>", "<｜User｜>", "<|END_OF_TURN_TOKEN|>", "<|eos|>"),
)
_END_OR_STRIKE = "</s>"
"""End of a sequence; in HTML, end of struck text (<s>)."""

_MARKS = ("<", "[", "◁")
"""One of these stands in every marker but "analysis"."""

_SPACE = re.compile(r"\s*")
_VALUE = re.compile(r"\s*(?:```\w*\s*)?[{\[]\s*[\"'{]")
"""Pattern of an object or a list of texts; a tag further on belongs to one of its texts."""


@dataclass(frozen=True, slots=True)
class Said:
    """The parts of a model's output.

    Attributes:
        answer: The answer, without reasoning and chat markers.
        start: Position of the answer in the output: all before it is reasoning.
        is_open: The reasoning never ended, so there is no answer.
    """

    answer: str
    start: int = 0
    is_open: bool = False


def split_reasoning(text: str) -> Said:
    """Split an output into reasoning and answer.

    If the chat template opened the reasoning, the text holds its closing tag only. Tags further on
    belong to the answer.
    """
    if not (text.startswith("analysis") or any(mark in text for mark in _MARKS)):
        return Said(text)  # most answers
    first = _skip(text, 0)
    if text.startswith(_CHANNEL, first):
        return _final_channel(text)
    # The same without its markers, as left by decoders that drop special tokens.
    if text.startswith("analysis", first) and (bare := text.find(_BARE_FINAL, first)) >= 0:
        return Said(text[bare + len(_BARE_FINAL) :], bare + len(_BARE_FINAL))
    start, is_open = _after_thoughts(text, first)
    if is_open:
        return Said("", len(text), is_open=True)
    begin = _skip(text, start)
    if text.startswith(_CHANNEL, begin):
        return _final_channel(text)
    return Said(text[begin : _end(text, begin)], start if start > first else 0)


def _final_channel(text: str) -> Said:
    place = text.rfind(_FINAL)
    begin = text.find(_MESSAGE, place) + len(_MESSAGE) if place >= 0 else -1
    if begin < len(_MESSAGE):
        return Said("", len(text), is_open=True)
    return Said(text[begin : _end(text, begin)], begin)


def _after_thoughts(text: str, start: int) -> tuple[int, bool]:
    """Return where the reasoning at a place ends, and whether it never does."""
    place, has_block = start, True
    while has_block:
        begin = _space_ends(text, place)
        has_block = False
        for opening, closing in _THOUGHTS:
            if text.startswith(opening, begin):
                end = text.find(closing, begin + len(opening))
                if end < 0:
                    return place, True
                place, has_block = end + len(closing), True
                break
    if place > start:
        return _space_ends(text, place), False
    if _VALUE.match(text, start):
        return place, False
    # Opened by the template: a closing tag without an opening one before it.
    for opening, closing in _THOUGHTS:
        end = text.find(closing, place)
        if end >= 0 and text.find(opening, place, end) < 0:
            return _space_ends(text, end + len(closing)), False
    return place, False


def _skip(text: str, place: int) -> int:
    """Return the place after all opening markers that stand there, and their spaces."""
    begin = _space_ends(text, place)
    while found := next((mark for mark in _OPENINGS if text.startswith(mark, begin)), ""):
        place = begin = _space_ends(text, begin + len(found))
    return place


def _end(text: str, start: int) -> int:
    """Return where the answer ends: at the first marker of its end, or of another turn."""
    end = len(text)
    for mark in _ENDS:
        found = text.find(mark, start, end)
        end = found if found >= 0 else end
    found = text.find(_END_OR_STRIKE, start, end)
    is_strike = found >= 0 and text.find("<s>", start, found) >= 0
    return end if found < 0 or is_strike else found


def _space_ends(text: str, place: int) -> int:
    found = _SPACE.match(text, place)
    return found.end() if found else place
