"""A causal language model of the transformers library: loading, encoding, batched generation.

It knows no requests and no queue; `backends/transformers.py` runs it in one thread.
"""

import gc
import sys
from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import Any, Literal

from stepsynth._util.pretrained import hub_options, loading, need
from stepsynth._util.reasoning import split_reasoning
from stepsynth._util.text import clean
from stepsynth.errors import ConfigError
from stepsynth.llm.core.errors import GiveUpError
from stepsynth.llm.core.types import Completion

Device = Literal["auto", "cpu", "cuda", "mps"]
DType = Literal["auto", "float32", "bfloat16", "float16"]


class CausalLM:
    """A model on its device, with its tokenizer.

    Args:
        name: A name on the Hugging Face hub, or a folder.
        device: Where it runs; `auto`: on the accelerator, if there is one.
        dtype: Type of its weights; `auto`: 16 bits on an accelerator, 32 on the CPU.
        temperature: 0 takes the likeliest token each time.
        top_p: Nucleus sampling.
        is_chat: Whether to use the tokenizer's chat template, if it has one.

    Raises:
        ConfigError: A library, the model, a part of it or the device is missing.
    """

    def __init__(
        self,
        name: str,
        *,
        device: Device,
        dtype: DType,
        temperature: float,
        top_p: float,
        is_chat: bool,
    ) -> None:
        need("torch", "transformers")
        need("transformers", "transformers")
        import transformers

        where = _pick_device(device)
        self._name = name
        options = hub_options(name)
        with loading(name, "llm.model"):
            self._tokenizer: Any = transformers.AutoTokenizer.from_pretrained(name, **options)
        self._model = _load_model(name, _pick_dtype(dtype, where), options).to(where)
        self._is_chat = is_chat and bool(getattr(self._tokenizer, "chat_template", None))
        text_config = self._model.config.get_text_config()
        self.context: int | None = getattr(text_config, "max_position_embeddings", None)
        self._ends = _end_tokens(self._model.generation_config, self._tokenizer)
        padding = self._tokenizer.pad_token_id
        self._padding: int = padding if padding is not None else min(self._ends, default=0)
        sampling = {"do_sample": True, "temperature": temperature, "top_p": top_p, "top_k": 0}
        # In place of the model's own, so that the task file alone decides how tokens are drawn.
        self._model.generation_config = transformers.GenerationConfig(
            **(sampling if temperature > 0 else {"do_sample": False}),
            eos_token_id=sorted(self._ends) or None,
            pad_token_id=self._padding,
        )

    def encode(self, prompt: str, turns: Sequence[str]) -> list[int]:
        """Return the token ids of a prompt and of what was said after it.

        Raises:
            GiveUpError: There is no token, or the chat template refuses.
        """
        said = [clean(text) for text in (prompt, *turns)]
        if self._is_chat:
            ids = self._encode_chat(said)
        else:
            ids = self._tokenizer("\n\n".join(said), verbose=False)["input_ids"]
        if not ids:
            raise GiveUpError("empty_prompt", "the prompt has no tokens")
        return ids

    def _encode_chat(self, said: Sequence[str]) -> list[int]:
        from jinja2 import TemplateError

        speakers = ("user", "assistant")
        messages = [{"role": speakers[i % 2], "content": text} for i, text in enumerate(said)]
        try:
            encoded = self._tokenizer.apply_chat_template(
                messages, add_generation_prompt=True, tokenize=True, return_dict=True
            )
        except TemplateError as error:
            raise GiveUpError(
                "chat_template", f"the chat template of {self._name} refuses: {error}"
            ) from error
        return encoded["input_ids"]

    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        *,
        longest: int,
        random_seed: int,
        is_unwanted: Callable[[], bool],
    ) -> list[list[int]]:
        """Return the token ids of a completion of each prompt, the end token included.

        Args:
            prompts: Token ids; padded on the left to one length.
            longest: Most tokens of a completion.
            random_seed: Seed of this batch's draws; other generators are left alone.
            is_unwanted: Asked before each token; True stops.
        """
        import torch
        from transformers import StoppingCriteriaList

        device = self._model.device
        width = max(map(len, prompts))
        ids = torch.full((len(prompts), width), self._padding)
        mask = torch.zeros_like(ids)
        for row, prompt in enumerate(prompts):
            ids[row, width - len(prompt) :] = torch.tensor(prompt)
            mask[row, width - len(prompt) :] = 1

        def stop(written: torch.Tensor, _scores: Any, **_: Any) -> torch.Tensor:
            return torch.full((len(written),), is_unwanted(), device=written.device)

        seeded = [device] if device.type == "cuda" else []
        with torch.inference_mode(), torch.random.fork_rng(devices=seeded):
            torch.manual_seed(random_seed)
            written = self._model.generate(
                input_ids=ids.to(device),
                attention_mask=mask.to(device),
                max_new_tokens=longest,
                stopping_criteria=StoppingCriteriaList([stop]),
            )
        return [self._until_end(row) for row in written[:, width:].tolist()]

    def _until_end(self, ids: list[int]) -> list[int]:
        """Return what precedes the padding: all up to the first end token."""
        return next((ids[: i + 1] for i, token in enumerate(ids) if token in self._ends), ids)

    def decode(self, ids: Sequence[int], *, prompt_tokens: int) -> Completion:
        """Return generated token ids as a completion; without an end token it is truncated."""
        whole = self._text(ids)
        said = split_reasoning(whole)
        reasoning_tokens = 0
        if said.start:
            thought = len(whole[: said.start].rstrip())
            reasoning_tokens = bisect_left(
                range(len(ids)), thought, key=lambda n: len(self._text(ids[:n]))
            )
        return Completion(
            text=clean(said.answer),
            truncated=not ids or ids[-1] not in self._ends,
            prompt_tokens=prompt_tokens,
            completion_tokens=len(ids),
            reasoning_tokens=reasoning_tokens,
        )

    def _text(self, ids: Sequence[int]) -> str:
        return self._tokenizer.decode(ids, skip_special_tokens=True)


def is_out_of_memory(error: Exception) -> bool:
    """Return whether a device had no memory left; each kind of device has words of its own."""
    import torch

    said = str(error).lower()
    is_said = "out of memory" in said or "can't allocate memory" in said
    return isinstance(error, torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and is_said
    )


def free_memory() -> None:
    """Give back what the device holds for tensors that are gone."""
    gc.collect()
    torch: Any = sys.modules.get("torch")
    if torch is None:  # not even installed
        return
    if (device := _accelerator(torch)) is not None:
        getattr(torch, device.type).empty_cache()


def _accelerator(torch: Any) -> Any:
    return torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None


def _load_model(name: str, dtype: Any, options: dict[str, Any]) -> Any:
    from transformers import AutoModelForCausalLM

    with loading(name, "llm.model"):
        try:
            loaded: Any = AutoModelForCausalLM.from_pretrained(
                name, use_safetensors=True, dtype=dtype, output_loading_info=True, **options
            )
        except RuntimeError as error:  # weights of another shape than config.json says
            raise ValueError(str(error)) from error
        model, info = loaded
        if missing := sorted(info["missing_keys"]):
            # transformers would fill them with random numbers, and the text would be noise.
            raise ValueError(f"{len(missing)} of its weights are missing: {missing[0]}, ...")
    return model


def _pick_device(wanted: Device) -> Any:
    """Return the device of that name, or the accelerator if there is one."""
    import torch

    if wanted == "auto":
        return _accelerator(torch) or torch.device("cpu")
    is_there = {"cuda": torch.cuda.is_available, "mps": torch.backends.mps.is_available}
    if wanted != "cpu" and not is_there[wanted]():
        raise ConfigError(
            f"llm.device: PyTorch finds no {wanted} device here",
            hint="take auto or cpu, or install the PyTorch that fits your accelerator",
        )
    return torch.device(wanted)


def _pick_dtype(wanted: DType, device: Any) -> Any:
    import torch

    if wanted != "auto":
        return getattr(torch, wanted)
    if device.type == "cpu":
        return torch.float32
    has_bfloat16 = device.type != "cuda" or torch.cuda.is_bf16_supported()
    return torch.bfloat16 if has_bfloat16 and device.type != "mps" else torch.float16


def _end_tokens(config: Any, tokenizer: Any) -> frozenset[int]:
    """Return the tokens that end a completion: chat models have one for a turn, one for a text."""
    ends = config.eos_token_id
    listed = ends if isinstance(ends, list) else [ends]
    return frozenset(end for end in (*listed, tokenizer.eos_token_id) if end is not None)
