"""The index check shared by methods that search a corpus."""

from typing import TYPE_CHECKING

from stepsynth.errors import ConfigError
from stepsynth.methods._method import Setup

if TYPE_CHECKING:
    from stepsynth.retrieval import Index


def need_index(setup: Setup, method: str) -> "Index":
    """Return the index of the set-up.

    Raises:
        ConfigError: The task file names no corpus.
    """
    if setup.index is None:
        raise ConfigError(
            f"the method {method} searches a corpus, and there is none",
            hint="data: {corpus: passages.jsonl} names one",
        )
    return setup.index
