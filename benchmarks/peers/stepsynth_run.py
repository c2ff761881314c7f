"""The stepsynth client of the peers' harness; README.md says how to plug it in.

It gets one text for each prompt through `LLM.stream`, with its store in --workdir. A truncated
answer is no row: as in the methods, another draw is requested.
"""

import json
from importlib import import_module
from pathlib import Path
from typing import Any

ROUNDS = 5
"""Most draws of a text whose answers are truncated."""


def write_texts(arguments: Any, model: str, prompts: list[str]) -> list[str | None]:
    """Return the text for each prompt, None if there is none."""
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
    """Run as a client of the harness, with its arguments, prompts and line of results."""
    common = import_module("common")  # the harness's module, beside the copy of this file
    arguments = common.args()
    import_module("stepsynth.llm.backends.openai_compatible")
    import_module("stepsynth.llm.store.store")
    imported = began = common.now()
    texts = write_texts(arguments, common.MODEL, common.prompts(arguments.n))
    common.result(texts, imported, began, common.now())


if __name__ == "__main__":
    main()
