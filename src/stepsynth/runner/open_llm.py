"""The LLM of a run with its store, its caps, and the other LLMs of single phases."""

from stepsynth.llm import llm_backends
from stepsynth.llm.backends.scripted import Rule, Scripted
from stepsynth.llm.store import Store
from stepsynth.runfolder import RunFolder
from stepsynth.runner.usage import CountedLLM
from stepsynth.taskfile import Config

# For methods that ask no LLM: it matches no prompt, so an unexpected request fails.
_NO_LLM = Scripted(rules=(Rule(pattern=r"(?!)", answers=("",)),))


def open_llm(config: Config, folder: RunFolder, run: str) -> CountedLLM:
    """Return the LLM of a configuration, with the store of its completions.

    Args:
        config: The configuration; without an `llm` section the LLM answers nothing.
        folder: The run folder; it holds the store, unless `llm.store` names another file.
        run: Digest of the run's identity, under which the store records the spending.

    Raises:
        ConfigError: The LLM cannot be used as it is set.
        RunFolderError: The store cannot be used.
    """
    settings, seed = config.llm or _NO_LLM, config.random_seed
    store = None
    is_paid = any(each.stores_completions for each in settings.endpoints())
    if is_paid and config.llm is not None:
        store = Store(settings.store_path(folder.store))
    backends = llm_backends()
    return CountedLLM(
        backends.get(settings.backend)(settings, seed),
        random_seed=seed,
        store=store,
        run=run,
        limits=None if config.llm is None else config.limits,
        phases={
            kind: [backends.get(each.backend)(each, seed) for each in several]
            for kind, several in settings.phases.items()
        },
    )
