"""stepsynth as a client of the peers' harness; README.md says how to plug it in.

One text for each prompt through `LLM.stream`, with its store under --workdir. An answer that was
cut off is no row: as the methods do, it is asked for again, as another draw.
"""

import json
from importlib import import_module
from pathlib import Path
from typing import Any

ROUNDS = 5
"""So often is asked again for answers that were cut off."""


def write_texts(arguments: Any, model: str, prompts: list[str]) -> list[str | None]:
    """Return the text for each prompt, None where there is none."""
    from stepsynth.llm import LLM, Completion, Request
    from stepsynth.llm.backends.openai_compatible import OpenAICompatible, OpenAICompatibleBackend
    from stepsynth.llm.store.store import Store

    settings = OpenAICompatible(
        model=model, base_url=arguments.base_url, concurrency=arguments.concurrency
    )
    folder = Path(arguments.workdir)
    llm = LLM(OpenAICompatibleBackend(settings, 0), store=Store(folder / "store.sqlite"))
    texts: list[str | None] = [None] * len(prompts)
    left = list(range(len(prompts)))
    for _ in range(ROUNDS):
        requests = (Request(prompts[i], "text") for i in left)
        cut: list[int] = []
        for i, answer in zip(
            left, llm.stream(requests, phase="text", total=len(left)), strict=True
        ):
            if isinstance(answer, Completion) and answer.truncated:
                cut.append(i)
            elif isinstance(answer, Completion):
                texts[i] = answer.text
        if not (left := cut):
            break
    llm.close()
    with open(folder / "out.jsonl", "w", encoding="utf-8") as file:
        file.writelines(json.dumps({"id": i, "text": text}) + "\n" for i, text in enumerate(texts))
    return texts


def main() -> None:
    """Run as one of the harness's clients: its arguments, its prompts, its line of results."""
    common = import_module("common")  # the harness's own, which lies beside this file's copy
    arguments = common.args()
    import_module("stepsynth.llm.backends.openai_compatible")
    import_module("stepsynth.llm.store.store")
    imported = began = common.now()
    texts = write_texts(arguments, common.MODEL, common.prompts(arguments.n))
    common.result(texts, imported, began, common.now())


if __name__ == "__main__":
    main()
