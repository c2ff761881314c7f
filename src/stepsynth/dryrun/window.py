"""How many tokens an LLM takes at once, and whether a prompt and its answer have room in that."""

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import Any

from stepsynth.errors import ProviderError, StepsynthError
from stepsynth.llm import PING, ChatBackend, GiveUpError, LLMSettings, llm_backends

_KEYS = ("max_model_len", "context_length", "context_window", "max_context_length", "n_ctx")
"""Names that vLLM and SGLang, OpenRouter, Groq, Mistral and llama.cpp have for it."""

_HINT = "lower llm.max_tokens, or give the server more context (vllm serve --max-model-len)"
_HINT_HERE = "lower llm.max_tokens, or raise llm.context"


def check_window(settings: LLMSettings, random_seed: int, longest: int) -> str:
    """Make sure that `max_tokens` has room in what an LLM takes at once.

    Where the settings do not say it, its endpoint is asked for its models; where they do not say it
    either, the LLM is asked for a word with as many tokens as the task file allows.

    Args:
        settings: The LLM.
        random_seed: The run's.
        longest: About how many tokens the longest prompt has; 0: not known.

    Returns:
        What is likely not to fit; "" where all does, or it cannot be known.

    Raises:
        ProviderError: `max_tokens` alone does not fit.
    """
    window, hint = settings.window, _HINT_HERE
    if window is None:
        backend = llm_backends().get(settings.backend)(settings, random_seed)
        if not isinstance(backend, ChatBackend):
            return ""
        window, hint = asyncio.run(_find_window(backend)), _HINT
    if window is None:
        return ""
    most = settings.live().max_tokens
    if most >= window:
        raise ProviderError(
            f"{settings.model}: llm.max_tokens {most} does not fit into the {window} tokens that "
            "it takes at once, prompt and answer together",
            hint=hint,
        )
    if longest + most <= window:
        return ""
    return (
        f"{settings.model} takes {window} tokens at once, and a prompt of about {longest} with "
        f"llm.max_tokens {most} does not fit: {hint}, or shorten the texts"
    )


async def _find_window(backend: ChatBackend[Any]) -> int | None:
    """Return how many tokens an LLM takes, or None where it cannot be known.

    Raises:
        ProviderError: The LLM refuses `max_tokens`.
    """
    try:
        async with asyncio.timeout(backend.ping_s):
            try:
                listed = await backend.client.get("/models")
            except StepsynthError:
                listed = {}
            window = _read_window(listed, backend.settings.model)
            if window is None:
                await backend.post(partial(backend.body, PING))
            return window
    except TimeoutError:
        return None  # What it answers for so long it does not refuse.
    except GiveUpError as error:
        raise ProviderError(
            f"{backend.settings.model} answers, but refuses llm.max_tokens "
            f"{backend.settings.live().max_tokens}: {error.message}",
            hint=_HINT,
        ) from error
    except StepsynthError:
        return None  # It has answered a ping: what fails now may be well later.
    finally:
        await backend.close()


def _read_window(listed: Mapping[str, Any], model: str) -> int | None:
    """Return what a list of models says of one of them."""
    data = listed.get("data")
    entries = [each for each in data if isinstance(each, dict)] if isinstance(data, list) else []
    named = [each for each in entries if each.get("id") == model]
    for entry in named or (entries if len(entries) == 1 else []):
        meta = entry.get("meta")
        for source in (entry, meta if isinstance(meta, dict) else {}):
            for key in _KEYS:
                value = source.get(key)
                if isinstance(value, int) and not isinstance(value, bool) and value > 0:
                    return value
    return None
