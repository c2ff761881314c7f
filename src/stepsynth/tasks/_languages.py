"""Languages in which built-in prompts are written, beside English.

A task whose `language` is given by its own name ("日本語") has its own words in that language, so
its prompts are too: `prompts/templates/KIND/CODE/`. A prompt that is not there is in English.
"""

from collections.abc import Mapping
from typing import NamedTuple


class Language(NamedTuple):
    """The phrases of a language that go into prompts.

    Attributes:
        code: Folder of its templates.
        labelled: A text of a label, with {text_name} and {label}.
        length: A length, with {least} and {most}.
    """

    code: str
    labelled: str
    length: str


NATIVE: Mapping[str, Language] = {
    "deutsch": Language("de", "{text_name} („{label}“)", "{least} bis {most} Wörter"),
    "日本語": Language("ja", "「{label}」に当てはまる{text_name}", "{least}～{most}文字"),
    "العربية": Language("ar", "{text_name} («{label}»)", "{least} إلى {most} كلمة"),
    "中文": Language("zh", "属于“{label}”的{text_name}", "{least}到{most}字"),
}
"""Name of a language in itself, in lower case -> its phrases."""
