"""Parameters that an endpoint refuses, learnt once from its error messages.

Reasoning models take no `temperature`, some want `max_completion_tokens`, small servers know
neither `seed` nor `n` nor JSON Schemas. All say so with a 400 or 422 that names the parameter.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

from stepsynth.llm.core.errors import GiveUpError

_STATUS = re.compile(r" answered (?:400|422): ")
_REFUSED = re.compile(
    r"unsupported|not support|n't support|not allowed|not permitted|deprecated|unrecogni[sz]ed"
    r"|unknown|unexpected|extra (?:inputs|fields)|extra_forbidden|cannot both|only the default"
    r"|only \S+ (?:is|are) allowed|not available|unavailable",
    re.IGNORECASE,
)
_ALWAYS = {
    "n": re.compile(r"['\"`]n['\"`]|\bn (?:is|must|should|>)", re.IGNORECASE),
    "response_format": re.compile(r"response_format|json_schema|schema|grammar", re.IGNORECASE),
    "output_config": re.compile(r"output_config|output_format|schema|grammar", re.IGNORECASE),
}
"""Parameters left out whatever the complaint is: nobody set a value of these that can be wrong."""


class Quirks:
    """The parameters that one endpoint has refused.

    Args:
        droppable: Parameters that can be left out -> what that means, for the notice. Where an
            endpoint refuses two together, the later one of them goes.
        renameable: Parameters that cannot be left out -> their other name.
    """

    def __init__(self, droppable: Mapping[str, str], renameable: Mapping[str, str]) -> None:
        self._droppable = droppable
        self._renameable = renameable
        self._learnt: set[str] = set()

    def takes(self, name: str) -> bool:
        """Return whether a parameter has not been refused."""
        return name not in self._learnt

    def apply(self, body: dict[str, Any]) -> dict[str, Any]:
        """Return a body without what was refused, and with what was renamed."""
        if not self._learnt:
            return body
        return {
            self._renameable.get(key, key) if key in self._learnt else key: value
            for key, value in body.items()
            if key not in self._learnt or key in self._renameable
        }

    def learn(self, error: GiveUpError, body: Mapping[str, Any]) -> str:
        """Learn from a refused body; return a notice for the user, "" if nothing new was learnt."""
        name = self._find_refused(error, body)
        if name is None or name in self._learnt:
            return ""
        self._learnt.add(name)
        if name in self._renameable:
            return f"the endpoint wants `{self._renameable[name]}` in place of `{name}`"
        return f"the endpoint refuses `{name}`: {self._droppable[name]}"

    def _find_refused(self, error: GiveUpError, body: Mapping[str, Any]) -> str | None:
        """Return the parameter of a body that an error names, if it can be dropped or renamed."""
        if not (status := _STATUS.search(error.message)):
            return None
        said = error.message[status.end() :]
        param = _read_param(error.raw)
        for old, new in self._renameable.items():
            is_meant = param == old or _REFUSED.search(said)
            if old in body and is_meant and new in said and _names(old, said):
                return old
        sent = [name for name in self._droppable if name in body]
        named = [n for n in sent if (n == param if param else _names(n, said))]
        if not _REFUSED.search(said):
            named = [name for name in named if name in _ALWAYS]
        return None if not named else named[-1] if "both" in said else named[0]


def _names(name: str, said: str) -> bool:
    """Return whether a message names a parameter, as a word of its own."""
    if name in _ALWAYS:
        return bool(_ALWAYS[name].search(said))
    return bool(re.search(rf"(?<!\w){name}(?!\w)", said))


def _read_param(raw: str) -> str:
    """Return the parameter that an error of OpenAI's form names, or ""."""
    try:
        param = json.loads(raw)["error"]["param"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""
    return re.split(r"[.\[]", param)[0] if isinstance(param, str) else ""
