"""Prompt templates: sandboxed Jinja2 that refuses a field it was not given.

Templates come from users and recipes; the text put into them comes from data and from the LLM. So a
template runs in Jinja's sandbox, and a value is never parsed as a template.
"""

import re
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

import jinja2
import jinja2.exceptions
import jinja2.meta
import jinja2.nodes
import jinja2.sandbox

from stepsynth.errors import PromptError, suggest

MOST_CHARACTERS = 50_000
"""Most characters of a template: compiling takes time and memory."""
BUILT_IN = Path(__file__).parent / "templates"

_ODD = (TypeError, ValueError, ArithmeticError, AttributeError, LookupError, RecursionError)
"""Exceptions of expressions in a template."""


class _Sandbox(jinja2.sandbox.ImmutableSandboxedEnvironment):
    """A sandbox without operators that fill the memory, as in `"x" * 10**10`."""

    intercepted_binops = frozenset({"*", "**", "%"})

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """Refuse an operator that can make a large value of small ones."""
        raise jinja2.exceptions.SecurityError(f"the operator {operator} is not for templates")


_ENVIRONMENT = _Sandbox(
    undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False
)
_ENVIRONMENT.globals.pop("lipsum")
_LARGE = re.compile(r"\d{6,}")
"""Pattern of a number that no prompt needs, and with which a text could fill the memory."""


class Template:
    """A prompt with named fields.

    Args:
        source: The Jinja2 text.
        fields: The fields that a caller will give; the template may use any of them.
        where: A file or key, for messages.

    Raises:
        PromptError: The source does not parse, or uses a field that is not among `fields`.
    """

    def __init__(self, source: str, *, fields: Iterable[str], where: str) -> None:
        self.source = source
        self.where = where
        known = sorted(fields)
        if len(source) > MOST_CHARACTERS:
            raise PromptError(
                f"{where}: this template has {len(source):,} characters, and at most "
                f"{MOST_CHARACTERS:,} are taken"
            )
        try:
            parsed = _ENVIRONMENT.parse(source)
            for constant in parsed.find_all(jinja2.nodes.Const):
                if _LARGE.search(str(constant.value)):
                    raise jinja2.TemplateSyntaxError(
                        "a number of six digits or more is not for templates", constant.lineno
                    )
            used = jinja2.meta.find_undeclared_variables(parsed)
            self._compiled = _ENVIRONMENT.from_string(source)
        except jinja2.TemplateSyntaxError as error:
            raise PromptError(
                f"{where}, line {error.lineno}: this template does not parse: {error.message}",
                hint="a field is {{ field }}; a part is {% if rationales %} ... {% endif %}",
            ) from error
        except (RecursionError, MemoryError, OverflowError, ValueError) as error:
            raise PromptError(f"{where}: this template is nested too deeply") from error
        for field in sorted(used - set(known)):
            raise PromptError(
                f"{where}: the template uses the field {field!r}, which it is not given. "
                f"Fields here: {', '.join(known)}.",
                hint=suggest(field, known),
            )

    def render(self, **fields: Any) -> str:
        """Return the prompt, without white space at its ends.

        Raises:
            PromptError: The template asks for something that its fields do not have.
        """
        try:
            return self._compiled.render(**fields).strip()
        except (jinja2.TemplateError, *_ODD) as error:
            raise PromptError(f"{self.where}: this template cannot be rendered: {error}") from error


@lru_cache
def has_built_in(name: str) -> bool:
    """Say whether a template ships in the package."""
    return (BUILT_IN / f"{name}.j2").exists()


@lru_cache
def read_built_in(name: str) -> str:
    """Return the source of a template that ships in the package."""
    return (BUILT_IN / f"{name}.j2").read_text(encoding="utf-8")


@lru_cache(maxsize=64)
def compile_template(source: str, fields: tuple[str, ...], where: str) -> Template:
    """Return a template, compiled once for all the prompts that it renders."""
    return Template(source, fields=fields, where=where)
