"""Interface of a provider's batch API: half the price, hours later; the same store.

`batches.driver.collect` sends requests in batches and delivers the results.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from typing import BinaryIO, ClassVar, Literal

from stepsynth.errors import ProviderError
from stepsynth.llm.core.errors import GiveUpError, RetryLaterError
from stepsynth.llm.core.types import Completion, Request

Outcome = Completion | RetryLaterError | GiveUpError


@dataclass(frozen=True, slots=True)
class BatchState:
    """Progress of a batch.

    Attributes:
        status: running; ended: its results can be fetched; failed: none of it was or will be done.
        done: Requests that were answered or given up.
        message: What the provider says of it, where it failed.
        is_queue_full: It failed because too much of ours is queued there: send less, or later.
    """

    status: Literal["running", "ended", "failed"] = "running"
    done: int = 0
    message: str = ""
    is_queue_full: bool = False


@dataclass(frozen=True, slots=True)
class SentBatch:
    """A batch in the ledger.

    Attributes:
        id: Its number in the ledger.
        token: Unique to the batch; sent with it, where the provider takes such a thing.
        requests: Ids of its requests whose results were not delivered yet.
        created: Unix time, seconds.
        provider_id: The provider's id; "" while it is being sent.
        is_lost: Its run broke off while sending it.
    """

    id: int
    token: str
    requests: tuple[str, ...]
    created: int
    provider_id: str = ""
    is_lost: bool = False


class BatchApi(ABC):
    """One provider's batch API.

    Attributes:
        provider: Backend and URL, for the ledger; holds no key.
        max_requests: Most requests in a batch.
        max_bytes: Most bytes of a batch.
        frame: What stands before, between and after the requests of a batch.
    """

    provider: str
    max_requests: ClassVar[int]
    max_bytes: ClassVar[int]
    frame: ClassVar[tuple[bytes, bytes, bytes]]

    @abstractmethod
    def line(self, request_id: str, request: Request) -> bytes:
        """Return one request as it stands in a batch, with the request's id as its custom id."""

    @abstractmethod
    async def submit(self, file: BinaryIO, token: str) -> str:
        """Send a batch, and return the provider's id of it; raises as `JsonClient.post`."""

    @abstractmethod
    async def find(self, lost: SentBatch, known: Collection[str]) -> str | None:
        """Return the provider's id of a batch that may have been sent; None if there is none.

        Args:
            lost: The batch, as the ledger has it.
            known: The provider's ids of all batches that were ever sent.
        """

    @abstractmethod
    async def poll(self, batch: str) -> BatchState:
        """Return how far a batch is."""

    @abstractmethod
    def results(self, batch: str) -> AsyncGenerator[tuple[str, Outcome | ProviderError]]:
        """Yield the request id and the outcome of each result of an ended batch.

        Unreadable lines are left out. A ProviderError means that no other request will succeed.
        """


async def _allow_all(requests: Sequence[Request]) -> int:
    return len(requests)


@dataclass(frozen=True)
class BatchHooks:
    """Callbacks from `collect` into the engine, all called in its event loop.

    Attributes:
        deliver: Stores the outcome of a request, durably when it returns; up to 256 at a time. Also
            called for requests that an earlier run or another process sent. Two processes that
            fetch the same batch at the same moment may both deliver a result.
        is_stopped: Returns whether to return at once.
        on_state: Called at each look with what is out; for the live line.
        on_notice: Called with what a person should know once.
        before_submit: Reserves what requests may cost, and returns how many of the first ones may
            be sent. Fewer, or its error, is final only once nothing else is out: a batch that ends
            frees what it did not use up.
        on_returned: Releases the reservations of requests that will be submitted anew, or that
            another process had answered.
        find_stored: Returns which of these ids another process has had answered. Those are not
            sent and not delivered.
        on_resumed: Called with requests that are out already, which before_submit never saw.
        sleep: Waits so many seconds.
    """

    deliver: Callable[[str, Outcome], Awaitable[None]]
    is_stopped: Callable[[], bool] = lambda: False
    on_state: Callable[[str], None] = lambda _text: None
    on_notice: Callable[[str], None] = lambda _text: None
    before_submit: Callable[[Sequence[Request]], Awaitable[int]] = _allow_all
    on_returned: Callable[[Sequence[Request]], None] = lambda _requests: None
    find_stored: Callable[[Sequence[str]], Collection[str]] = lambda _ids: ()
    on_resumed: Callable[[Sequence[Request]], None] = lambda _requests: None
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
