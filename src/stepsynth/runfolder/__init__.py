"""The run folder: its layout, its identity, its one writer and its one reader."""

from stepsynth.runfolder.events import Cadence, UsageLog, last_progress
from stepsynth.runfolder.folder import OpenRun, check_folder, round_numbers
from stepsynth.runfolder.lineage import ErrorLineage, RoundLineage
from stepsynth.runfolder.paths import RunFolder
from stepsynth.runfolder.recording import write_recording
from stepsynth.runfolder.rows import MissedRow, UnusedRow
from stepsynth.runfolder.run import Run, RunRound, open_run, read_record, read_rows

__all__ = [
    "Cadence",
    "ErrorLineage",
    "MissedRow",
    "OpenRun",
    "RoundLineage",
    "Run",
    "RunFolder",
    "RunRound",
    "UnusedRow",
    "UsageLog",
    "check_folder",
    "last_progress",
    "open_run",
    "read_record",
    "read_rows",
    "round_numbers",
    "write_recording",
]
