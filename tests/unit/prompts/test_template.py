import pytest

from stepsynth.errors import PromptError
from stepsynth.prompts.template import Template


def test_fields_are_filled_in():
    template = Template("Write {{ word }}.", fields=["word"], where="here")
    assert template.render(word="it") == "Write it."


def test_text_that_looks_like_a_template_stays_text():
    template = Template("{{ text }}", fields=["text"], where="here")
    assert template.render(text="{{ 7 * 7 }} {% raw %}") == "{{ 7 * 7 }} {% raw %}"


def test_an_unknown_field_is_named_with_a_suggestion():
    with pytest.raises(PromptError, match=r"'lable_word'.*label_word") as caught:
        Template("{{ lable_word }}", fields=["label_word", "text"], where="seed.j2")
    assert caught.value.hint == "did you mean 'label_word'?"


def test_a_syntax_error_names_the_line():
    with pytest.raises(PromptError, match=r"seed.j2, line 2"):
        Template("fine\n{% if %}", fields=[], where="seed.j2")


@pytest.mark.parametrize(
    "source",
    ["{{ text.__class__.__mro__ }}", "{{ ''.__class__ }}", "{{ text.x.y }}", "{{ 1 // 0 }}"],
)
def test_a_template_cannot_leave_its_sandbox(source):
    with pytest.raises(PromptError):
        Template(source, fields=["text"], where="here").render(text="a")


@pytest.mark.parametrize(
    "source",
    [
        "{{ 'x' * 10**10 }}",
        "{{ text|center(10000000000) }}",
        "{{ '%10000000000s' % text }}",
        "{{ '{:>9999999999}'.format(text) }}",
        "{{ 'x'|indent(9999999999) }}",
        "{{ lipsum(1000) }}",
        "{{ " + "(" * 5000 + "text" + ")" * 5000 + " }}",
        "{{ text }}" * 10_000,
    ],
)
def test_a_template_cannot_fill_the_memory_or_take_long(source):
    with pytest.raises(PromptError):
        Template(source, fields=["text"], where="here").render(text="a")


def test_numbers_of_the_prompt_itself_are_left_alone():
    assert Template("Order 123456789", fields=[], where="here").render() == "Order 123456789"
