"""Prompts of single methods, with their fields; S3's own are defined with the kinds of task."""

from collections.abc import Mapping

METHOD_PROMPTS: Mapping[str, tuple[str, ...]] = {
    # llm, annotate: the LLM itself predicts the label, after examples if there are any.
    "decide": ("shots",),
    # A label check (TarGEN's self-correction): is the label of this row right?
    "judge": (),
    # zerogen: names of subjects, and a text of a label about one of them.
    "condition": ("condition_name", "number"),
    "seed_conditioned": ("condition_name", "condition"),
    # fewgen, progen: a text of a label, after examples of that label.
    "few_shot": ("shots",),
    # attrprompt: dimensions in which texts differ, their values (for one label or for all), similar
    # labels, whether a value suits those too, and a text with one value of each dimension.
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
"""Prompt -> its fields, besides those of the row (`text`, `label_word`, `label_words`, `context`,
`answer`) and of the task. A kind of task has the prompts whose template is in its folder."""

GENERAL_PROMPTS: Mapping[str, tuple[str, ...]] = {
    # Put after a prompt for one text, to get several, between <text> and </text>.
    "several": ("number",),
    # The second turn after an answer that cannot be read, with the reason.
    "correct": ("reason",),
}
"""Prompts that go with any other, for every kind of task -> their fields, besides the task's."""
