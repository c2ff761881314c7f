"""Prompts: templates that render them, and parsers of the answers."""

from stepsynth.prompts.choices import parse_choice, parse_choices
from stepsynth.prompts.languages import is_written_in, sample_letters
from stepsynth.prompts.parsing import (
    parse_list,
    parse_object,
    parse_reasons,
    parse_text,
    read_answer,
)
from stepsynth.prompts.several import Part, split_texts
from stepsynth.prompts.template import Template, compile_template, has_built_in, read_built_in
from stepsynth.prompts.wrapping import unquote

__all__ = [
    "Part",
    "Template",
    "compile_template",
    "has_built_in",
    "is_written_in",
    "parse_choice",
    "parse_choices",
    "parse_list",
    "parse_object",
    "parse_reasons",
    "parse_text",
    "read_answer",
    "read_built_in",
    "sample_letters",
    "split_texts",
    "unquote",
]
