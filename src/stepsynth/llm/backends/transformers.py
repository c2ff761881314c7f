"""An LLM in this process: any causal language model of the transformers library.

Requests that wait while the device works share the next batch. A batch is drawn with a seed of its
own, and what shares a batch depends on timing. So only the store makes a run repeatable.
"""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from pydantic import Field

from stepsynth._util.hashing import derive_seed
from stepsynth._util.pretrained import digest_folder
from stepsynth.errors import ConfigError, ProviderError
from stepsynth.llm.core.backend import Backend, LiveSettings
from stepsynth.llm.core.errors import GiveUpError
from stepsynth.llm.core.types import Completion, Request
from stepsynth.llm.local.causal_lm import CausalLM, Device, DType, free_memory, is_out_of_memory


class Transformers(LiveSettings):
    """Settings of a model that runs in this process."""

    backend: str = "transformers"
    model: str = Field(
        min_length=1,
        description="A causal language model: a name on the Hugging Face hub, or a folder.",
    )
    device: Device = Field(
        default="auto", description="Where it runs; auto: on the accelerator, if there is one."
    )
    dtype: DType = Field(
        default="auto", description="Of the weights; auto: 16 bits on an accelerator, else 32."
    )
    batch_size: int = Field(
        default=16, gt=0, description="Most requests generated together; halved if memory is short."
    )
    chat: Literal["auto", "never"] = Field(
        default="auto",
        description="auto: the tokenizer's chat template, if it has one; never: the plain prompt.",
    )

    optional_keys: ClassVar[tuple[str, ...]] = ("chat",)
    runs_here: ClassVar[bool] = True

    def more_identity(self) -> dict[str, Any]:
        """Return what decides the answers beside `identity_keys`: a folder by its content, ..."""
        files = digest_folder(self.model)
        return super().more_identity() | ({"files": files} if files else {})


@dataclass(frozen=True, slots=True, eq=False)
class _Job:
    """A request that waits for the device; `room` is its longest completion, in tokens."""

    request: Request
    prompt: list[int]
    room: int
    answer: asyncio.Future[Completion]


class TransformersBackend(Backend[Transformers]):
    """A backend that generates in one thread, in batches of the requests that wait.

    The draws of a batch depend on the seed of its first request and on all that is in it, so a
    draw comes out the same only in the same batch. Greedy completions (temperature 0) depend on it
    by rounding alone.
    """

    name = "transformers"
    settings_class = Transformers
    ping_s = None  # it may have to be downloaded

    def __init__(self, settings: Transformers, random_seed: int) -> None:
        super().__init__(settings, random_seed)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="transformers")
        self._loading: asyncio.Future[CausalLM] | None = None
        self._batch_size = settings.batch_size
        self._waiting: list[_Job] = []
        self._worker: asyncio.Task[None] | None = None

    async def complete(self, request: Request) -> Completion:
        """Return the completion of a request; see `Backend.complete`."""
        return await self._ask(request, self.settings.longest(request))

    async def ping(self) -> None:
        """Load the model and generate one token."""
        try:
            await self._ask(Request("Hello", stream="ping"), 1)
        except GiveUpError as error:
            if error.reason != "empty":  # one token may be no text
                raise

    async def close(self) -> None:
        """Stop generating and free the model."""
        for job in self._waiting:
            job.answer.cancel()
        await asyncio.to_thread(self._thread.shutdown)
        if self._loading is not None:
            self._loading = None
            free_memory()

    async def _ask(self, request: Request, longest: int) -> Completion:
        """Queue a request and wait for its completion of at most `longest` tokens."""
        if self._loading is None:
            loop = asyncio.get_running_loop()
            self._loading = loop.run_in_executor(self._thread, self._load)
        model = await asyncio.shield(self._loading)  # cancelling one must not cancel the others
        prompt = model.encode(request.prompt, request.turns)
        room = longest if model.context is None else min(longest, model.context - len(prompt))
        if room < 1:
            raise GiveUpError(
                "too_long",
                f"a prompt of {len(prompt)} tokens leaves no room for an answer: "
                f"{self.settings.model} reads {model.context}",
            )
        job = _Job(request, prompt, room, asyncio.get_running_loop().create_future())
        self._waiting.append(job)
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work(model))
        return await job.answer

    def _load(self) -> CausalLM:
        settings = self.settings
        try:
            return CausalLM(
                settings.model,
                device=settings.device,
                dtype=settings.dtype,
                temperature=settings.temperature,
                top_p=settings.top_p,
                is_chat=settings.chat == "auto",
            )
        except RuntimeError as error:
            raise ConfigError(
                f"llm.model: {settings.model} does not run on this device: {_one_line(error)}",
                hint="take a smaller model, a dtype of 16 bits, or llm.device: cpu",
            ) from error

    async def _work(self, model: CausalLM) -> None:
        """Generate batch after batch until nothing waits."""
        while self._waiting:
            batch = self._next_batch()
            if batch and not await self._answer(model, batch):
                free_memory()
                self._shrink(batch)

    def _next_batch(self) -> list[_Job]:
        """Take the request that has waited longest, and those most like it in length.

        All have the same room, so that none is cut off where another one has to stop.
        """
        self._waiting = [job for job in self._waiting if not job.answer.done()]
        if not self._waiting:
            return []
        first = self._waiting[0]
        alike = [job for job in self._waiting if job.room == first.room]
        alike.sort(key=lambda job: abs(len(job.prompt) - len(first.prompt)))
        batch = alike[: self._batch_size]
        self._waiting = [job for job in self._waiting if job not in batch]
        return batch

    async def _answer(self, model: CausalLM, batch: list[_Job]) -> bool:
        """Answer the requests of a batch; return whether it fitted into the device's memory."""
        first = batch[0].request

        def generate() -> list[Completion]:
            written = model.generate(
                [job.prompt for job in batch],
                longest=batch[0].room,
                random_seed=derive_seed(self.random_seed, first.stream, first.draw),
                is_unwanted=lambda: all(job.answer.done() for job in batch),
            )
            return [
                model.decode(ids, prompt_tokens=len(job.prompt))
                for ids, job in zip(written, batch, strict=True)
            ]

        try:
            completions = await asyncio.get_running_loop().run_in_executor(self._thread, generate)
        except Exception as error:  # whatever a model may raise
            if not is_out_of_memory(error):
                self._fail(batch, error)
            return not is_out_of_memory(error)
        for job, completion in zip(batch, completions, strict=True):
            if not completion.text.strip() and not completion.truncated:
                _refuse([job], GiveUpError("empty", f"{self.settings.model} ended with no text"))
            elif not job.answer.done():
                job.answer.set_result(completion)
        return True

    def _shrink(self, batch: list[_Job]) -> None:
        """Halve the batch size and put this batch back; a request that is alone is given up."""
        if len(batch) == 1:
            error = GiveUpError(
                "out_of_memory",
                f"the device has no memory for a prompt of {len(batch[0].prompt)} tokens and "
                f"{batch[0].room} more: lower llm.max_tokens or take a smaller model",
            )
            _refuse(batch, error)
            return
        if self._batch_size == self.settings.batch_size:
            self.on_notice(
                f"the device has no memory for {len(batch)} requests at once; going on with fewer "
                "(llm.batch_size)"
            )
        self._batch_size = len(batch) // 2
        self._waiting = [*batch, *self._waiting]

    def _fail(self, batch: list[_Job], error: Exception) -> None:
        name = self.settings.model
        failure = ProviderError(
            f"llm.model: {name} cannot generate: {_one_line(error)}",
            hint="try llm.dtype: float32 or llm.device: cpu; does plain transformers generate "
            "with this model?",
        )
        failure.__cause__ = error
        _refuse(batch, failure)


def _refuse(batch: list[_Job], error: Exception) -> None:
    for job in batch:
        if not job.answer.done():
            job.answer.set_exception(error)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
