"""The report: a run folder as one self-contained HTML file."""

from stepsynth.report.render import write_report

__all__ = ["write_report"]
