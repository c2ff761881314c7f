"""The run folder: what lies where, who may write into it, which run it belongs to."""

from stepsynth.runfolder.events import Cadence, UsageLog, read_events
from stepsynth.runfolder.folder import OpenRun, RunFolder, round_numbers
from stepsynth.runfolder.recording import write_recording

__all__ = [
    "Cadence",
    "OpenRun",
    "RunFolder",
    "UsageLog",
    "read_events",
    "round_numbers",
    "write_recording",
]
