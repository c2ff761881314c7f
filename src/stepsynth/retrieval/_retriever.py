"""Base classes of retrievers and indexes; an index is built once and reopened."""

import shutil
import tempfile
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from stepsynth._util.pretrained import digest_folder
from stepsynth.errors import ConfigError, DataError
from stepsynth.registry import Registry
from stepsynth.retrieval._folder import major_versions, make_sure
from stepsynth.retrieval._passages import Passage, digest_corpus

Floats = npt.NDArray[np.float32]
Progress = Callable[[str, int, int], None]
_UNREADABLE = (ValueError, KeyError, TypeError, OSError, EOFError, RuntimeError)


def _ignore(*_: Any) -> None: ...


@dataclass(frozen=True, slots=True)
class Hit:
    """A passage found for a query.

    Attributes:
        passage: The passage.
        rank: Its rank among the query's hits, from 1.
        score: The ranker's score: a BM25 score, or an inner product.
        cosine: Cosine of query and passage, by embeddings (or TF-IDF, without an encoder), -1 to 1.
    """

    passage: Passage
    rank: int
    score: float
    cosine: float


class Index(ABC):
    """A searchable corpus; its passages are in the corpus's order."""

    def __init__(self, passages: Sequence[Passage]) -> None:
        self.passages = passages

    def __len__(self) -> int:
        return len(self.passages)

    def search(self, queries: Sequence[str], k: int) -> list[list[Hit]]:
        """Return the hits of each query, in the order of the queries, best hit first.

        Passages with equal scores come in the corpus's order. A blank query has no hits.

        Args:
            queries: n texts, searched together.
            k: Most hits per query; fewer if the corpus has fewer.
        """
        if isinstance(queries, str):
            raise TypeError("search takes a list of queries, not one query")
        if k < 1:
            raise ValueError(f"k is the number of hits, at least 1; got {k}")
        asked = {query: i for i, query in enumerate(dict.fromkeys(q for q in queries if q.strip()))}
        found = self._search(list(asked), min(k, len(self))) if asked else []
        return [list(found[asked[query]]) if query in asked else [] for query in queries]

    @abstractmethod
    def _search(self, queries: Sequence[str], k: int) -> list[list[Hit]]:
        """Return the hits of queries that are not blank."""

    @abstractmethod
    def embed(self, texts: Sequence[str]) -> Floats:
        """Return unit-length embeddings: (n_texts, n_dimensions). Each text is embedded once.

        Raises:
            ConfigError: The retriever has no encoder.
        """

    def cosines(self, queries: Sequence[str], passages: Sequence[str]) -> Floats:
        """Return the cosine of each query with each passage: (n_queries, n_passages)."""
        return np.clip(self.embed(queries) @ self.embed(passages).T, -1.0, 1.0)


class Retriever(BaseModel, ABC):
    """A retriever; its fields are its keys in a task file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: ClassVar[str]

    libraries: ClassVar[tuple[str, ...]] = ()
    """The packages that write an index; another major version may be unable to read it."""

    format: ClassVar[int] = 1
    """Version of the files of an index."""

    not_indexed: ClassVar[frozenset[str]] = frozenset({"folder"})
    """Fields that an index on disk does not depend on."""

    folder: str | None = Field(
        default=None,
        description="Keep the index here, for other runs too; else it is in the run's own folders.",
    )

    @abstractmethod
    def check(self) -> None:
        """Check that its libraries and its encoder are available, before any money is spent.

        Raises:
            ConfigError: One is missing; the hint is the install command.
        """

    def index(
        self,
        passages: Sequence[Passage],
        folder: Path | None,
        *,
        warn: Callable[[str], None] = _ignore,
        on_progress: Progress = _ignore,
    ) -> Index:
        """Return the index of a corpus: the one on disk if it is the same, else a new one.

        The index stays on disk and is mapped into memory. Processes that want the same index wait
        while one of them builds it; a half-built index is never used.

        Args:
            passages: The corpus; its order settles ties.
            folder: Where the index is kept, unless the field `folder` is set. An index of another
                corpus or retriever there is rebuilt. None: it is kept only as long as the object.
            warn: Called with a sentence that the user should read.
            on_progress: Called with the activity, the steps done and the total.

        Raises:
            DataError: There is no passage, or two have the same id.
            ConfigError: The folder that the user named (`retrieval.folder`) holds the index of
                another corpus or retriever, something else, or a damaged index.
        """
        _check_corpus(passages)
        self._advise(warn)
        place = Path(self.folder) if self.folder else folder
        with ExitStack() as temporary:
            if place is None:
                made = tempfile.mkdtemp(prefix="stepsynth-")
                temporary.callback(shutil.rmtree, made, ignore_errors=True)
                place = Path(made) / "index"
            make_sure(
                place,
                self._identity(passages),
                lambda partial: self._build(passages, partial, on_progress),
                is_named=self.folder is not None,
                warn=warn,
            )
            index = self._open_checked(passages, place, on_progress)
            weakref.finalize(index, temporary.pop_all().close)
        return index

    def _advise(self, warn: Callable[[str], None]) -> None:
        """Warn of the limits of this choice of retriever."""

    @abstractmethod
    def _build(self, passages: Sequence[Passage], folder: Path, on_progress: Progress) -> None:
        """Write the files of an index into an empty folder."""

    @abstractmethod
    def _open(self, passages: Sequence[Passage], folder: Path, on_progress: Progress) -> Index:
        """Map the files that `_build` wrote."""

    def _open_checked(
        self, passages: Sequence[Passage], folder: Path, on_progress: Progress
    ) -> Index:
        try:
            return self._open(passages, folder, on_progress)
        except _UNREADABLE as error:
            if isinstance(error, ConfigError):
                raise
            raise ConfigError(
                f"{folder}: the index cannot be read: {error}",
                hint="delete the folder, and the next run builds it anew",
            ) from error

    def _identity(self, passages: Sequence[Passage]) -> dict[str, Any]:
        """Return all that determines the contents of an index."""
        return {
            "format": self.format,
            "retriever": self.name,
            **self.model_dump(mode="json", exclude=set(self.not_indexed)),
            "passages": len(passages),
            "corpus": digest_corpus(passages),
            "encoder_files": digest_folder(getattr(self, "encoder", None)),
            "libraries": major_versions(self.libraries),
        }


def retrievers() -> Registry[Retriever]:
    """Return the registry of retrievers."""
    return Registry("stepsynth.retrieval", "retriever", Retriever)


def rank_best(scores: npt.NDArray[Any], k: int) -> npt.NDArray[np.intp]:
    """Return the positions of the k highest scores, best first; ties by position.

    Scores that differ by less than a millionth are tied: the division of a matrix product into
    blocks changes the last digits.
    """
    places = np.arange(len(scores))
    if k < len(scores):
        least = np.partition(scores, len(scores) - k)[len(scores) - k]
        places = np.flatnonzero(scores >= least)
    return places[np.lexsort((places, -scores[places].round(6)))][:k]


def _check_corpus(passages: Sequence[Passage]) -> None:
    if not passages:
        raise DataError("the corpus has no passage", hint="name a file with a column `text`")
    seen: set[str] = set()
    for passage in passages:
        if passage.id in seen:
            raise DataError(
                f"two passages of the corpus have the id {passage.id!r}",
                hint="give each its own id, or none: a digest of the text then takes its place",
            )
        seen.add(passage.id)
