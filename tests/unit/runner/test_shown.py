"""Gold texts are found in prompts as they stand there, and counted for each LLM."""

from stepsynth.records import Example
from stepsynth.runner.shown import SHORTEST, ShownGold

ROWS = [
    Example("My parcel never came.\n\nWhere is it?", "a", context="the shop's terms of delivery"),
    Example("the kettle leaks", "b"),
    Example("kettle", "b"),
    Example("الطرد لم يصل بعد إلى المنزل", "a"),
    Example("这个包裹昨天还没有到，我想退款", "a"),
]


def shown(*prompts):
    found = ShownGold(ROWS)
    for llm, prompt in prompts:
        found.look(prompt, llm)
    return found


def test_texts_are_found_within_quotes_and_with_other_white_space():
    found = shown(("m", 'Like this one:\n\n"My parcel never came. Where is it?"\nAnswer.'))
    assert found.texts == {"m": {"My parcel never came. Where is it?"}}
    assert found.contexts == {"m": set()}


def test_each_llm_is_counted_for_itself_and_a_text_once():
    found = shown(
        ("m", "(the kettle leaks)"),
        ("m", "again: the kettle leaks"),
        ("n", "«الطرد لم يصل بعد إلى المنزل» the shop's terms of delivery"),
        ("o", "nothing of it"),
    )
    assert {llm: len(texts) for llm, texts in found.texts.items()} == {"m": 1, "n": 1, "o": 0}
    assert found.contexts["n"] == {"the shop's terms of delivery"}


def test_parts_of_a_text_and_short_texts_are_not_it():
    assert len("kettle") < SHORTEST
    assert shown(("m", "the kettle; my parcel never came")).texts == {"m": set()}


def test_a_text_without_spaces_is_found_amid_others():
    found = shown(("m", "请改写这句话这个包裹昨天还没有到，我想退款好吗"))
    assert found.texts == {"m": {"这个包裹昨天还没有到，我想退款"}}
