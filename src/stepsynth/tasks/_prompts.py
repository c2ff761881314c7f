"""The prompts that single methods send, and the fields of each; S3's own stand with the kinds."""

from collections.abc import Mapping

METHOD_PROMPTS: Mapping[str, tuple[str, ...]] = {
    # llm: what is decided, asked of the LLM itself.
    "decide": (),
    # A label check (TarGEN's self-correction): is the label of this row right?
    "judge": (),
    # zerogen: names of what texts are about, and a text of a label about one of them.
    "condition": ("condition_name", "number"),
    "seed_conditioned": ("condition_name", "condition"),
    # fewgen, progen: a text of a label, after examples of that label.
    "few_shot": ("shots",),
    # attrprompt: what texts can differ in, values of that (of a label or of all), similar labels,
    # whether a value suits those too, and a text with one value of each.
    "dimensions": ("number",),
    "values": ("dimension", "number"),
    "similar": ("number",),
    "suits": ("dimension", "value", "others"),
    "attributed": ("attributes", "shortest", "longest", "others"),
    # targen: domains, raw texts of one, and a text of a label from such a text (its context).
    "domains": ("number",),
    "instance_seeds": ("domain", "number"),
    "from_instance_seed": ("instance_seed",),
    # synthesizrr: a passage rewritten as a text of a label.
    "refine": ("passage", "shots"),
}
"""Prompt -> its fields, beside those of the row (`text`, `label_word`, `label_words`, `context`,
`answer`) and of the task. A kind of task has those whose template lies in its folder."""

GENERAL_PROMPTS: Mapping[str, tuple[str, ...]] = {
    # Put after a prompt that asks for one text: several of them, between <text> and </text>.
    "several": ("number",),
    # The second turn after an answer that cannot be read, and the reason of that.
    "correct": ("reason",),
}
"""Prompts that go with any other, for every kind of task -> their fields, beside the task's."""
