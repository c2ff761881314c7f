"""Reading of rows and passages, and the split of gold."""

from stepsynth.data.bad_rows import BadRow, MissingColumnError, Reading
from stepsynth.data.corpus import read_corpus
from stepsynth.data.decisions import apply_decisions, check_label_names, read_decisions
from stepsynth.data.decoding import check_encoding
from stepsynth.data.files import HUB, rows_of_file
from stepsynth.data.mapped import spool
from stepsynth.data.parquet import (
    check_free,
    find_shards,
    is_address,
    replacing_folder,
    rows_of_shards,
    send,
    write_shards,
)
from stepsynth.data.parts import Columns, find_parts, gather, states
from stepsynth.data.rows import (
    read_contexts,
    read_file,
    read_records,
    read_unlabelled,
    run_columns,
    stream_file,
)
from stepsynth.data.section import SHARD_ROWS, DataSection, Split
from stepsynth.data.split import Gold, check_labels, choose_contexts, make_gate, screen, split_gold

__all__ = [
    "HUB",
    "SHARD_ROWS",
    "BadRow",
    "Columns",
    "DataSection",
    "Gold",
    "MissingColumnError",
    "Reading",
    "Split",
    "apply_decisions",
    "check_encoding",
    "check_free",
    "check_label_names",
    "check_labels",
    "choose_contexts",
    "find_parts",
    "find_shards",
    "gather",
    "is_address",
    "make_gate",
    "read_contexts",
    "read_corpus",
    "read_decisions",
    "read_file",
    "read_records",
    "read_unlabelled",
    "replacing_folder",
    "rows_of_file",
    "rows_of_shards",
    "run_columns",
    "screen",
    "send",
    "split_gold",
    "spool",
    "states",
    "stream_file",
    "write_shards",
]
