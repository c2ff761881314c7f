"""Retrievers, one per file: passages of a corpus for queries, with ranks, scores and cosines."""

from stepsynth.retrieval._passages import Passage, cut, digest_corpus
from stepsynth.retrieval._retriever import Hit, Index, Retriever, retrievers

__all__ = ["Hit", "Index", "Passage", "Retriever", "cut", "digest_corpus", "retrievers"]
