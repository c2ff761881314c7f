"""The context window of an LLM, and whether a prompt and its answer fit into it."""

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import Any

from stepsynth.errors import ProviderError, StepsynthError
from stepsynth.llm import PING, ChatBackend, GiveUpError, LLMSettings, llm_backends

_KEYS = ("max_model_len", "context_length", "context_window", "max_context_length", "n_ctx")
"""Names of the window at vLLM and SGLang, OpenRouter, Groq, Mistral and llama.cpp."""

_HINT = "lower llm.max_tokens, or give the server more context (vllm serve --max-model-len)"
_HINT_HERE = "lower llm.max_tokens, or raise llm.context"


def check_window(settings: LLMSettings, random_seed: int, longest: int) -> str:
    """Check that `max_tokens` fits into the context window of an LLM.

    If the settings do not give the window, the endpoint's list of models is read. If it does not
    either, a short request is sent with the `max_tokens` of the task file.

    Args:
        settings: The LLM.
        random_seed: The random seed of the run.
        longest: Approximate tokens of the longest prompt; 0: not known.

    Returns:
        A warning on what is likely not to fit; "": all fits, or the window is unknown.

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
    """Return the context window of an LLM in tokens, or None if it cannot be known.

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
        return None  # A request that is answered for so long is not refused.
    except GiveUpError as error:
        raise ProviderError(
            f"{backend.settings.model} answers, but refuses llm.max_tokens "
            f"{backend.settings.live().max_tokens}: {error.message}",
            hint=_HINT,
        ) from error
    except StepsynthError:
        return None  # It has answered a ping, so this failure may be temporary.
    finally:
        await backend.close()


def _read_window(listed: Mapping[str, Any], model: str) -> int | None:
    """Return the context window that a list of models gives for a model."""
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
